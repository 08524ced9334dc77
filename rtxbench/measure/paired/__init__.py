"""Compare arms in pairs: start their workers, time blocks in turns, decide who gets the next launch.

Knows workers and clocks, and no store: what a launch becomes in the results is said in the room above.
"""
