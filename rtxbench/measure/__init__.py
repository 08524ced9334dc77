"""Measure cases: blocks, warm-up, the paired protocol, worker processes and their coordinator.

Throughput alone: other claims are measured in `trials`, what to measure is decided in `planning`.
"""
