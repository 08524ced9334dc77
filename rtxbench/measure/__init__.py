"""Measure cases: blocks, warm-up, the paired protocol, worker processes and their coordinator."""
