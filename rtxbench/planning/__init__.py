"""What is measured: the plan follows from the rows of ``bench/claims.toml``, machine, profile and engine.

Here live the designs (how cases are grouped so that they can be compared) and the plan. How long and by which protocol
a group is measured is `rtxbench.measure`; what its ratios mean is `rtxbench.verdicts`.
"""
