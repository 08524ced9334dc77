"""A whole search with processes and launches stood in for: what it stores, leaves out, and takes over."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from math import log
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from rtxbench.measure.group_records import GroupOutcome
from rtxbench.measure.profiles import profile_named
from rtxbench.own import search as module
from rtxbench.own.extras import NO_MEMORY, own_observation
from rtxbench.own.search import Earlier, Search, confirmation, earlier_of
from rtxbench.records import Case, Estimate, Observation, RatioRecord, Record
from rtxbench.results.store import LoadedRun
from tests.report.test_sections_appendix_engines import RUN
from tests.synthetic import CPU_ONLY

PLAIN = Case(workload="model:train.build@1a2b3c4d", batch_size=8, engine="torch")
NOTHING = Earlier({}, {})


def speed(case: Case) -> float:
    """Examples per second: bfloat16, a fused optimizer and twice the batch pay, compiling costs."""
    return (
        (1.5 if case.precision == "mixed_bfloat16" else 1)
        * (0.8 if case.compiler == "inductor" else 1)
        * (1.1 if "fused-optimizer" in case.variant else 1)
        * {8: 1.0, 16: 1.2, 32: 1.1}[case.batch_size]
    )


class Session:
    """Stores what it is given; a launch shows every arm's true speed."""

    run_id = "run-1"
    profile = profile_named("quick")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.raced: list[Case] = []

    def append(self, record: Record) -> None:
        self.records.append(record)

    def for_a_time(self, profile: object) -> Any:
        return nullcontext()

    def measure_arms(self, groups: Mapping[str, Sequence[Any]], purpose: str) -> dict[str, GroupOutcome]:
        ((name, arms),) = groups.items()
        ratios = [self.ratio(name, arm.case, purpose) for arm in arms[1:]]
        self.raced += [arm.case for arm in arms[1:]]
        for ratio in ratios:
            self.append(ratio)
        return {name: GroupOutcome({}, ratios, interrupted=False)}

    def ratio(self, group: str, case: Case, purpose: str) -> RatioRecord:
        value = speed(case) / speed(PLAIN)
        return RatioRecord(
            record_id=f"r{len(self.records)}-{case.label}",
            run_id=self.run_id,
            group=group,
            purpose=purpose,  # type: ignore[arg-type]
            baseline=PLAIN,
            candidate=case,
            baseline_record="a",
            candidate_record="b",
            metric="throughput",
            replicate="launch",
            log_ratios=(log(value),),
            ratio=Estimate(value=value, low=None, high=None, n=1),
            smallest_effect_ratio=None,
            warmup_ok=True,
            finished_at="2026-01-01T00:00:00+00:00",
        )


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Case]:
    """The cases whose first steps were trained; no convolution is there, and one combination trains something else."""
    seen: list[Case] = []

    def step_records(run_id: str, case: Case, labels: Mapping[str, str]) -> list[Observation]:
        seen.append(case)
        if "channels-last" in case.variant:
            reason = "the model has no two-dimensional convolution."
            return [own_observation(run_id, "first_loss", (), case, labels, replicate="step", reason=reason)]
        apart = case.precision == "mixed_bfloat16" and "fused-optimizer" in case.variant and case.batch_size == 16
        return [own_observation(run_id, "first_loss", (2.0, 1.0 + apart), case, labels, replicate="step")]

    monkeypatch.setattr(module, "step_records", step_records)
    return seen


def searched(session: Session, earlier: Earlier = NOTHING) -> tuple[Case, list[Case]] | None:
    return Search(session, PLAIN, {"file": "train.py"}, False, earlier).run(CPU_ONLY)  # type: ignore[arg-type]


def test_the_fastest_that_trains_alike_wins(tried: list[Case]) -> None:
    """The very fastest combination trains to another loss, though each of its parts does not: the next one wins."""
    session = Session()
    found = searched(session)
    assert found is not None
    assert found[0] == replace(PLAIN, precision="mixed_bfloat16", variant="fused-optimizer", batch_size=32)
    assert {case.variant for case in found[1]} >= {"checkpointing+fused-optimizer", "accumulate-4+fused-optimizer"}
    rejected = {r.case: r.reason for r in session.records if getattr(r, "metric", "") == "search_rejected"}
    assert "no two-dimensional convolution" in str(rejected[replace(PLAIN, variant="channels-last")])
    fastest = replace(found[0], batch_size=16)
    assert "differ from float32's by up to 50.0 %" in str(rejected[fastest])
    assert not any("channels-last" in case.variant for case in session.raced)
    (outcome,) = [r for r in session.records if getattr(r, "metric", "") == "search_log_ratio"]
    assert int(outcome.labels["launches"]) < int(outcome.labels["exhaustive_launches"])  # type: ignore[union-attr]


def test_a_batch_that_does_not_fit_races_with_what_makes_room_for_it(
    tried: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four times the batch is out of memory but for gradient checkpointing: so it races, and wins when it is faster."""
    without_limits = module.step_records

    def step_records(run_id: str, case: Case, labels: Mapping[str, str]) -> list[Observation]:
        if case.batch_size == 32 and "checkpointing" not in case.variant:
            failed = {**labels, "failed": NO_MEMORY}
            return [own_observation(run_id, "first_loss", (), case, failed, replicate="step", reason="out of memory")]
        return without_limits(run_id, case, labels)

    monkeypatch.setattr(module, "step_records", step_records)
    gains = {8: 1.0, 16: 1.1, 32: 2.0}
    monkeypatch.setitem(globals(), "speed", lambda case: gains[case.batch_size] * (0.8 if case.variant else 1.0))
    session = Session()
    found = searched(session)
    assert found is not None
    assert (found[0].batch_size, found[0].variant) == (32, "checkpointing")
    assert {case.variant for case in found[1]} == {"accumulate-4+checkpointing"}  # itself is no form of itself
    large = [case for case in session.raced if case.batch_size == 32]
    assert all("checkpointing" in case.variant for case in large)
    rejected = {r.case: r.reason for r in session.records if getattr(r, "metric", "") == "search_rejected"}
    assert rejected[replace(PLAIN, batch_size=32)] == "out of memory"


def test_a_resumed_search_takes_over_what_is_stored(tried: list[Case]) -> None:
    """It trains no first step twice and races nothing again, and finds the same."""
    session = Session()
    found = searched(session)
    run = LoadedRun(RUN, tuple(session.records), Path("run.jsonl"), truncated=False)
    failing = sum("channels-last" in case.variant for case in tried)
    tried.clear()
    again = Session()
    assert searched(again, earlier_of([run], PLAIN)) == found
    assert len(tried) == failing  # what failed is tried again
    assert again.raced == []


def test_nothing_faster_is_an_answer_too(tried: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every change costs speed, the record says so and no winner is made up."""
    monkeypatch.setitem(globals(), "speed", lambda case: 1.0 if case == PLAIN else 0.9)
    session = Session()
    assert searched(session) is None
    (outcome,) = [r for r in session.records if getattr(r, "metric", "") == "search_log_ratio"]
    assert "faster than what you run now" in str(outcome.reason)  # type: ignore[union-attr]


def test_the_confirmation_holds_the_winner_against_the_plain_case() -> None:
    """On launches of a group of its own, in which the winner's forms take part."""
    winner = replace(PLAIN, precision="mixed_bfloat16")
    group = confirmation(PLAIN, winner, [replace(winner, variant="checkpointing")])
    assert group.baseline == PLAIN
    assert group.candidates[0] == winner
    assert group.name == "your-model/train.build-search"
