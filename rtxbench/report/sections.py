"""Which sections a report has, in the order a reader meets them. `rtxbench.report.base` says how to add one."""

from rtxbench.report.base import SectionFunction
from rtxbench.report.claims_section import claims_section
from rtxbench.report.engines_section import engines_section
from rtxbench.report.gate_section import gate_section
from rtxbench.report.guide import guide_section
from rtxbench.report.history_section import history_section
from rtxbench.report.inventory import machines_section, runs_section, unmeasured_section
from rtxbench.report.purchase_section import purchase_section
from rtxbench.report.ratios import ratios_section
from rtxbench.report.throughput import throughput_section
from rtxbench.report.timeline import timeline_section
from rtxbench.report.trust_section import trust_section
from rtxbench.report.verdicts import verdicts_section
from rtxbench.report.why_section import why_section

__all__ = ["SECTIONS"]

SECTIONS: tuple[SectionFunction, ...] = (
    verdicts_section,
    ratios_section,
    claims_section,
    throughput_section,
    engines_section,
    why_section,
    timeline_section,
    trust_section,
    purchase_section,
    gate_section,
    history_section,
    unmeasured_section,
    machines_section,
    runs_section,
    guide_section,
)
"""Verdicts first, the reading guide last."""
