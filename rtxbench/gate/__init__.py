"""The throughput gate: two commits or environments, measured side by side in one session, and a decision.

::

    trees ─► environments ─► process (worker.py in each arm's own Python) ─► launch ─► session ─► outcome
                                                                              └─► selftest
"""
