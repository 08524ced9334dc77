"""The gate's statistics: evidence as launches come in, the decision, two-speed arms, and the promises by simulation.

Pure functions of log-ratios and step times: nothing here runs a process, reads a file or prints.
"""
