"""Sections of the view on evidence: verdicts, ratios, machines side by side, trials, why a step is not faster.

May point back to `answers`; tables of raw figures are in `appendix`.
"""
