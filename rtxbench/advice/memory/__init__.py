"""Estimate the GPU memory a training needs: the models, the formula and the card it must fit.

Nothing here speaks of speed.
"""
