"""List the page's views and the sections of each. `rtxbench.report.parts` says how to add one."""

from typing import Final

from rtxbench.report.parts import SectionFunction, ViewPlan
from rtxbench.report.sections.answers.summary import answers_section
from rtxbench.report.sections.answers.your_model import your_model_section
from rtxbench.report.sections.appendix.engines import engines_section
from rtxbench.report.sections.appendix.gate import gate_section
from rtxbench.report.sections.appendix.guide import guide_section
from rtxbench.report.sections.appendix.history import history_section
from rtxbench.report.sections.appendix.inventory import machines_section, runs_section, unmeasured_section
from rtxbench.report.sections.appendix.throughput import throughput_section
from rtxbench.report.sections.appendix.timeline import timeline_section
from rtxbench.report.sections.appendix.trust import trust_section
from rtxbench.report.sections.cards.published_cards import published_section
from rtxbench.report.sections.cards.purchase import purchase_section
from rtxbench.report.sections.evidence.ratios import ratios_section
from rtxbench.report.sections.evidence.side_by_side import side_by_side_section
from rtxbench.report.sections.evidence.spread import spread_section
from rtxbench.report.sections.evidence.trials import claims_section
from rtxbench.report.sections.evidence.verdicts import verdicts_section
from rtxbench.report.sections.evidence.why import why_section

__all__ = ["APPENDIX", "EVIDENCE", "SECTIONS", "VIEWS"]

EVIDENCE: Final = (verdicts_section, ratios_section, side_by_side_section, spread_section, claims_section, why_section)
APPENDIX: Final = (
    throughput_section,
    engines_section,
    timeline_section,
    trust_section,
    gate_section,
    history_section,
    unmeasured_section,
    machines_section,
    runs_section,
    guide_section,
)
VIEWS: Final = (
    ViewPlan(id="answers", title="Answers", sections=(answers_section, your_model_section)),
    ViewPlan(id="evidence", title="Evidence", sections=EVIDENCE),
    ViewPlan(id="cards", title="Which card", sections=(purchase_section, published_section)),
    ViewPlan(id="appendix", title="Appendix", sections=APPENDIX),
)
"""The answer first, what it rests on second; what few readers need comes last."""

SECTIONS: Final[tuple[SectionFunction, ...]] = tuple(make for view in VIEWS for make in view.sections)
"""Every section of every view."""
