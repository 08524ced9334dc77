"""Predict the speed of cards nobody measured: the scaling laws and the ranges they have earned on held-out cards.

A prediction is never mixed with a measurement; which card to buy is said in the room above.
"""
