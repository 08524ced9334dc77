"""A record of a known topic carries what its readers look up, or it is refused where it is read."""

from typing import Any

import msgspec
import pytest

from rtxbench.records import Estimate, Observation
from rtxbench.results.topics import NEEDS, topic_problem
from rtxbench.robustness.mutants import sample_lines

NAMED = [(topic, metric) for topic, metrics in NEEDS.items() for metric in metrics]


def observation(topic: str, metric: str, **changes: Any) -> Observation:
    needs = NEEDS[topic][metric]
    record = Observation(
        record_id="o1",
        run_id="r1",
        topic=topic,
        metric=metric,
        values=(1.0, 2.0, 3.0, 4.0),
        replicate="seed",
        finished_at="2026-11-21T00:00:00+00:00",
        estimate=Estimate(value=1.0, low=None, high=None, n=1),
        labels=dict.fromkeys((*needs.labels, *needs.numbers), "1"),
    )
    return msgspec.structs.replace(record, **changes)


@pytest.mark.parametrize(("topic", "metric"), NAMED)
def test_each_label_is_needed_where_there_is_a_figure(topic: str, metric: str) -> None:
    """Whole it passes, without a label it is refused by the label's name, and a mere reason needs none."""
    assert topic_problem(observation(topic, metric)) is None
    for name in NEEDS[topic][metric].labels:
        found = topic_problem(observation(topic, metric, labels={}))
        assert found is not None
        kept = {other: "1" for other in NEEDS[topic][metric].labels if other != name}
        assert name in str(topic_problem(observation(topic, metric, labels=kept)))
    assert topic_problem(observation(topic, metric, labels={}, values=(), estimate=None, reason="no GPU")) is None


@pytest.mark.parametrize("odd", ["", "x", "nan", "inf", "-1", "9" * 5000])
@pytest.mark.parametrize(("topic", "metric"), [one for one in NAMED if NEEDS[one[0]][one[1]].numbers])
def test_a_number_in_a_label_is_an_amount(topic: str, metric: str, odd: str) -> None:
    """Planted slow-downs, launches and margins are computed with: words, infinities and negatives are refused."""
    whole = observation(topic, metric)
    for name in NEEDS[topic][metric].numbers:
        assert topic_problem(msgspec.structs.replace(whole, labels=whole.labels | {name: odd})) is not None


def test_a_latency_of_nothing_is_refused() -> None:
    """It would be drawn on a logarithmic axis."""
    for values in ((0.0,), (1.0, -1.0)):
        assert "of nothing or less" in str(topic_problem(observation("deployment", "latency_p50_s", values=values)))


@pytest.mark.parametrize(
    "changes", [{"values": (1.0, 2.0, 3.0)}, {"values": (1.0, 2.0, 3.0, 0.0)}, {"values": ()}, {"estimate": None}]
)
def test_a_self_test_s_launch_is_two_arms_of_positive_times(changes: dict[str, Any]) -> None:
    """Replaying reshapes the values by four and takes logarithms of them."""
    found = topic_problem(observation("gate-selftest", "step_time_s", **changes))
    assert found is not None and "no launch of two arms" in found


def test_the_sample_that_is_mutated_holds_the_topics() -> None:
    """What no line of the sample has, no mutant can break."""
    lines = [msgspec.json.decode(line) for line in sample_lines()]
    assert {line.get("topic") for line in lines} >= NEEDS.keys()
