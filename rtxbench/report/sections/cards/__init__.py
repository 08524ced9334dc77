"""Sections of the view on which card to buy: the offers, and what others published.

The reckoning is in `rtxbench.advice`; here it is only laid out.
"""
