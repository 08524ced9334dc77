"""Worker processes: the client, the messages and the interpreters they run in.

What they measure is said elsewhere.
"""
