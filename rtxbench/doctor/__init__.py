"""Find what is wrong with this installation: the facts of it, and one check a row.

Measures nothing.
"""
