"""Decisions of one comparison: what a movement that had not ended takes from them."""

import math

import pytest

from rtxbench.verdicts.claims import Comparison
from rtxbench.verdicts.statistics.decision import decide
from rtxbench.verdicts.statistics.pooling import LogRatio

BETTER = Comparison(name="quality", varies=("variant",), rule="at-least", threshold_ratio=1.0)
EQUAL = Comparison(name="quality", varies=("variant",), rule="no-difference", margin_ratio=0.1)


def seeds(ratio: float, unfinished: float) -> LogRatio:
    """Five seeds known to half a percent."""
    return LogRatio(math.log(ratio), 0.005, 4.0, 5, unfinished=math.log(unfinished))


@pytest.mark.parametrize(
    ("question", "ratio", "unfinished", "state", "leaning"),
    [
        (BETTER, 0.5, 1.2, "refuted", None),
        (BETTER, 0.5, 2.5, "inconclusive", "likely-no"),
        (BETTER, 1.5, 0.9, "supported", None),
        (BETTER, 1.5, 0.5, "inconclusive", "likely-yes"),
        (EQUAL, 1.0, 1.0, "supported", None),
        (EQUAL, 1.0, 1.3, "inconclusive", "likely-yes"),
    ],
)
def test_a_ratio_that_still_moved_decides_only_what_the_movement_leaves(
    question: Comparison, ratio: float, unfinished: float, state: str, leaning: str | None
) -> None:
    """A movement that ends on the same side of the line changes nothing; one that crosses it opens the question."""
    found = decide(seeds(ratio, unfinished), question)
    assert (found.state, found.leaning) == (state, leaning)
    assert (found.reason == "not-converged") == (leaning is not None)


def test_an_open_ratio_stays_open() -> None:
    """A movement may open a question, never decide one."""
    wide = LogRatio(math.log(0.98), 0.1, 4.0, 5, unfinished=-1.0)
    assert decide(wide, BETTER).state == "inconclusive"
