"""The verdicts' statistics: pooling of runs, steadiness, the decision between states, and its promises by simulation.

Numbers in, a decision out: which records may speak, and in which words, is said in the room above.
"""
