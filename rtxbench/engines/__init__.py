"""Engines: build a train step, run it, synchronise; one module per framework."""
