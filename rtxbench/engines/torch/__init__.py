"""The PyTorch engine: Keras models on one device, or under DistributedDataParallel with a process a device."""
