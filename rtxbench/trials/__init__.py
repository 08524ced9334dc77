"""Claims that are no throughput: quality, augmentation, tuning, deployment, a split model.

Both the coordinator's and the worker's side of each live here; throughput is measured in `measure`.
"""
