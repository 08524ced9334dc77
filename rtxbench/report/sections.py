"""Which sections a report has, in the order a reader meets them. `rtxbench.report.base` says how to add one."""

from rtxbench.report.base import SectionFunction

__all__ = ["SECTIONS"]

SECTIONS: tuple[SectionFunction, ...] = ()
"""Verdicts first, the reading guide last."""
