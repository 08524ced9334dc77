"""Does rtxbench survive: mutated files through every reader, and kills of every process. Nothing here measures speed.

Behind ``rtxbench selftest hostile`` and ``rtxbench selftest kills``; the figures stand in docs/reliability.md.
"""
