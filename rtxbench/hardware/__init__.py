"""Describe the machine and record what it does: NVML, the host, the recorder process, validity flags."""
