"""Diagnose why a step is not faster: what the device could do, what the step asks of it, the rules that name the cause.

Imports no verdict.
"""
