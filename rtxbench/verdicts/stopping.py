"""Ask while a group runs whether its launches decide what the claims ask of them: by the rule of the verdicts."""

from collections.abc import Sequence
from typing import Final

from rtxbench.measure.session import Standing
from rtxbench.records import Environment, RatioRecord
from rtxbench.units import format_ratio
from rtxbench.verdicts.claims import Claim, Comparison
from rtxbench.verdicts.matching import PairedEvidence, lacks, matches
from rtxbench.verdicts.statistics.decision import decide
from rtxbench.verdicts.statistics.pooling import log_ratio_of

__all__ = ["Questions"]

_WORDS: Final = {"supported": "yes", "refuted": "no"}
_ABOUT_THE_LINE: Final = "about-the-line"
_LEAST_REPLICATES: Final = 3


class Questions:
    """Says of a group's ratios where the claims' questions stand.

    Args:
        claims: whose comparisons are asked.
        environment: of the machine; a claim that it cannot speak for asks nothing.
    """

    def __init__(self, claims: Sequence[Claim], environment: Environment) -> None:
        spoken = [claim for claim in claims if lacks(environment, claim) is None]
        self._comparisons = [comparison for claim in spoken for comparison in claim.comparisons]

    def __call__(self, ratios: Sequence[RatioRecord]) -> Standing | None:
        """Say where the group stands; ``None`` where no claim asks anything of it.

        A group is decided when every comparison of every claim is: yes, no, or about the line, of which nobody can be
        told more.
        """
        asked = [(ratio, c) for ratio in ratios for c in self._comparisons if matches(ratio, c)]
        if not asked:
            return None
        answers = [_answer(ratio, comparison) for ratio, comparison in asked]
        text = ", ".join(dict.fromkeys(answer or "open" for answer in answers))
        questions = dict.fromkeys(_question(comparison) for _, comparison in asked)
        return Standing(all(answers), f"{' '.join(questions)} {text}")


def _answer(ratio: RatioRecord, comparison: Comparison) -> str | None:
    if len(ratio.log_ratios) < _LEAST_REPLICATES:
        return None
    decision = decide(log_ratio_of(ratio), comparison, doubtful=PairedEvidence(ratio, None).doubtful)
    return "about the line" if decision.reason == _ABOUT_THE_LINE else _WORDS.get(decision.state)


def _question(comparison: Comparison) -> str:
    if comparison.threshold_ratio is None:
        return "no difference?"
    return f"at least {format_ratio(comparison.threshold_ratio)}?"
