"""Which sections a report has, in the order a reader meets them. `rtxbench.report.base` says how to add one."""

from rtxbench.report.base import SectionFunction
from rtxbench.report.sections.engines import engines_section
from rtxbench.report.sections.gate import gate_section
from rtxbench.report.sections.guide import guide_section
from rtxbench.report.sections.history import history_section
from rtxbench.report.sections.inventory import machines_section, runs_section, unmeasured_section
from rtxbench.report.sections.purchase import purchase_section
from rtxbench.report.sections.ratios import ratios_section
from rtxbench.report.sections.throughput import throughput_section
from rtxbench.report.sections.timeline import timeline_section
from rtxbench.report.sections.trials import claims_section
from rtxbench.report.sections.trust import trust_section
from rtxbench.report.sections.verdicts import verdicts_section
from rtxbench.report.sections.why import why_section

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
