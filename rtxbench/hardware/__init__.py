"""Describe the machine and record what it does: NVML, the host, the recorder process, validity flags.

Knows neither cases nor engines; what is wrong with an installation is said in `doctor`.
"""
