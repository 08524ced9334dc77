"""Claims are judged: what may speak for each, the decision, its notes and its wording.

What to buy and why it is slow are other rooms.
"""
