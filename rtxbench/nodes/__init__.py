"""Sources of the ranks of a job over several machines: an agent on each node, and rank 0's hub that they join.

What a rank trains and how ranks are driven is in `rtxbench.engines.nodes`; carrying agents to machines by Ray is
`rtxbench.fleet`.
"""
