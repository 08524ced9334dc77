"""What the machine is and what it did: NVML, the host, the recorder process, validity flags."""
