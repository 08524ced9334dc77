"""Sections of the view that few readers need: throughput, engines, recordings, trust, the gate, runs and terms.

Nothing here is needed to follow a verdict: that is in `evidence`.
"""
