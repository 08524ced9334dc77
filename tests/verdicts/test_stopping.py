"""The question a session asks after each launch, by the rule that gives the verdict."""

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from rtxbench.records import Case, RatioRecord
from rtxbench.stats import ratio_estimate
from rtxbench.verdicts.claims import Claim, Comparison
from rtxbench.verdicts.stopping import Questions
from tests.judged_runs import environment, paired

BASE = Case(workload="mlp", batch_size=32)
OTHER = Case(workload="mlp", batch_size=32, precision="mixed_bfloat16")
CLAIM = Claim(
    id="faster",
    title="t",
    says="s",
    measured="m",
    comparisons=(Comparison(name="speed", varies=("precision",), rule="at-least", threshold_ratio=1.1),),
)


def ratio(value: float, spread: Iterable[float], candidate: Case = OTHER) -> RatioRecord:
    """A ratio whose launches were looked at while they came in."""
    found = paired(BASE, candidate, value, spread=spread)[-1]
    assert isinstance(found, RatioRecord)
    return replace(found, ratio=ratio_estimate(found.log_ratios, adaptive=True))


@pytest.mark.parametrize(
    ("value", "spread", "answer"),
    [
        (3.3, (-0.02, 0.0, 0.02), "yes"),
        (0.5, (-0.02, 0.0, 0.02), "no"),
        (1.075, (-0.002, 0.0, 0.002, 0.0), "about the line"),
        (1.12, (-0.05, 0.0, 0.05, 0.0), None),
        (1.2, (-0.01, 0.0, 0.01, 0.0), None),
        (1.2, (-0.01, 0.0, 0.01, 0.0, -0.01, 0.01), "yes"),
        (1.4, (-0.01, 0.0, 0.01), "yes"),
        (3.3, (-0.01, 0.01), None),
    ],
    ids=[
        "far above",
        "far below",
        "between the lines",
        "a close call",
        "clear, but a state could make it",
        "six of them",
        "no state could make it",
        "two launches",
    ],
)
def test_a_question_is_decided_as_its_verdict_will_be(value: float, spread: tuple[float, ...], answer: str) -> None:
    """Yes, no and about the line need no further launch; a close call does, and so do fewer than three launches."""
    standing = Questions([CLAIM], environment())([ratio(value, spread)])
    assert standing is not None
    assert standing.decided == (answer is not None)
    assert standing.text == f"at least 1.10×? {answer or 'open'}"


def test_one_open_comparison_keeps_its_group_open() -> None:
    """Candidates of a group share launches: all of them have to be decided."""
    other = replace(OTHER, precision="mixed_float16")
    ratios = [ratio(3.3, (-0.02, 0.0, 0.02)), ratio(1.12, (-0.05, 0.0, 0.05), other)]
    standing = Questions([CLAIM], environment())(ratios)
    assert standing is not None
    assert not standing.decided


def test_what_no_claim_asks_has_no_question() -> None:
    """Other workloads than a claim is about, and claims that this machine cannot speak for, ask nothing."""
    elsewhere = ratio(3.3, (-0.02, 0.0, 0.02), replace(BASE, workload="cnn"))
    assert Questions([CLAIM], environment())([elsewhere]) is None
    needs_gpus = replace(CLAIM, needs_gpus=1)
    assert Questions([needs_gpus], environment())([ratio(3.3, (-0.02, 0.0, 0.02))]) is None
