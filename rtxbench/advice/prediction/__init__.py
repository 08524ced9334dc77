"""How fast a card nobody measured would train: the scaling laws and the ranges they have earned on held-out cards."""
