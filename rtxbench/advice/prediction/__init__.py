"""Predict the speed of cards nobody measured: the scaling laws and the ranges they have earned on held-out cards."""
