"""Keep what was measured: append, load strictly, merge, refuse what cannot be true, make tables of it.

`foreign` reads JSON that other programs wrote. The records themselves are in `rtxbench.records`; what they mean is said
in `verdicts` and `report`.
"""
