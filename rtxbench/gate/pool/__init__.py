"""A gate over a pool: the launches of a case spread over equal machines of a Ray cluster.

Here live the trees as one parcel, what a node does with it, and who measures which launch. A launch is a pair of arms
on one machine, so that levels may differ; what a machine adds to the ratio is a random effect (``..statistics``).

Neither Ray (`rtxbench.fleet.cluster`) nor the decision is here.
"""
