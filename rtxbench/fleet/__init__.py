"""Measure the suite on many machines of a Ray cluster, and bring every record home once.

Ray carries the work and notices when a node dies; only `cluster` imports it. What is measured on a node is what
``rtxbench run`` measures there, in a process of its own for each group. Nothing about one machine's figures lives here.
"""
