"""The throughput gate: two commits or environments, measured side by side in one session, and a decision.

::

    trees ─► settings ─► environments ─► launching (worker.py in each arm's own Python) ─► session ─► outcome
                                                                                           │ evidence, decision
    selftest, replay, operating_characteristics: does it cry wolf?   series: many commits   └► records
"""
