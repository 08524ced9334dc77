"""Why it is not faster: what the device could do, what the step asks of it, and the rules that name the cause.

Imports no verdict.
"""
