"""Plan what is measured from the rows of ``bench/claims.toml``, the machine, the profile and the engine.

Here live the designs (how cases are grouped so that they can be compared) and the plan. How long and by which protocol
a group is measured is `rtxbench.measure`; what its ratios mean is `rtxbench.verdicts`.
"""
