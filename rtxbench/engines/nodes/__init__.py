"""One training step over several machines: rank 0's end, the ranks, and the links between them.

Each engine joins its ranks by its own means (``build_share``); what is here knows no framework.
"""
