"""Advise which card to buy: the question, what it rests on, the options and what they cost.

How fast (prediction) and whether it fits (memory) are rooms of their own below; cards and published figures lie in
`catalog`.
"""
