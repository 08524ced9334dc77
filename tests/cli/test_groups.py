"""``rtxbench run``: what counts as finished, and when a run has failed."""

from dataclasses import replace
from pathlib import Path

import pytest

from rtxbench.cli.groups import finished_cases, finished_trials, raise_if_nothing_came
from rtxbench.errors import MeasurementError, UnavailableError
from rtxbench.measure.profiles import profile_named
from rtxbench.measure.session import Standing
from rtxbench.printable import without_home
from rtxbench.records import TRIAL_FINISHED, Case, CaseRecord, Observation, Record
from rtxbench.results.store import RunWriter
from tests.judged_runs import case_record, environment, loaded_run, paired

CASE = Case(workload="mlp", batch_size=32)
HERE = environment()
PROFILE = profile_named("standard")


def ended(status: str, reason: str | None) -> CaseRecord:
    return CaseRecord(
        record_id=f"{status}-1",
        run_id="run-1",
        group="g",
        case=CASE,
        status=status,  # type: ignore[arg-type]
        finished_at="2026-01-01T00:00:00+00:00",
        reason=reason,
    )


def observed(metric: str, *values: float) -> Observation:
    return Observation(
        record_id=f"o-{metric}",
        run_id="run-1",
        topic="tuning",
        metric=metric,
        values=values,
        replicate="seed",
        finished_at="2026-01-01T00:00:00+00:00",
    )


def stored(folder: Path, *records: Record) -> Path:
    with RunWriter(folder, loaded_run((), HERE).run) as writer:
        for record in records:
            writer.append(record)
    return writer.path


@pytest.mark.parametrize(
    ("record", "finished"),
    [
        (case_record(CASE), True),
        (ended("skipped", "no GPU"), True),
        (ended("failed", None), False),
        (ended("failed", "the worker was killed by SIGKILL"), False),
    ],
    ids=["measured", "skipped", "interrupted", "died"],
)
def test_resume_measures_again_what_was_interrupted_or_died(tmp_path: Path, record: CaseRecord, finished: bool) -> None:
    """Ctrl-C and an out-of-memory kill leave a record without figures: `--resume` must not call that measured."""
    stored(tmp_path, record)
    assert bool(finished_cases(tmp_path, HERE, PROFILE)) is finished


def test_a_trial_counts_as_finished_by_its_mark_only(tmp_path: Path) -> None:
    """A trial that was killed between two of its records is measured again."""
    stored(tmp_path / "half", observed("validation_loss", 0.5))
    assert finished_trials(tmp_path / "half", HERE, PROFILE) == set()
    stored(tmp_path / "whole", observed("validation_loss", 0.5), observed(TRIAL_FINISHED, 1.0))
    assert finished_trials(tmp_path / "whole", HERE, PROFILE) == {"tuning"}


def test_a_run_without_a_single_figure_fails(tmp_path: Path) -> None:
    """Every worker killed: exit 4 with the reason, never a success; nothing this machine can do: exit 3."""
    with pytest.raises(MeasurementError, match="killed by SIGKILL"):
        raise_if_nothing_came(stored(tmp_path / "killed", ended("failed", "the worker was killed by SIGKILL")))
    with pytest.raises(UnavailableError, match="no GPU"):
        raise_if_nothing_came(stored(tmp_path / "skipped", ended("skipped", "no GPU")))
    with pytest.raises(MeasurementError, match="no case came to an end"):
        raise_if_nothing_came(tmp_path / "no-such-file")
    raise_if_nothing_came(stored(tmp_path / "measured", ended("failed", "out of memory"), case_record(CASE)))


def test_a_stored_command_names_no_person() -> None:
    """Of absolute and home paths only the last part stays; options and relative words are as typed."""
    typed = ("/home/ada/.venv/bin/rtxbench", "run", "--results=/home/ada/r", "~/mine", "--claim", "tuning")
    assert without_home(typed) == ("rtxbench", "run", "--results=r", "mine", "--claim", "tuning")


@pytest.mark.parametrize(
    ("most", "decided", "finished"),
    [(12, True, True), (12, None, True), (12, False, False), (4, False, True)],
    ids=["decided", "nothing asked", "open", "open after the most launches"],
)
def test_a_group_whose_question_is_open_is_resumed(
    tmp_path: Path, most: int, decided: bool | None, finished: bool
) -> None:
    """The least launches finish a group that is decided or asks nothing; an open one goes on, up to the most."""
    other = Case(workload="mlp", batch_size=32, precision="mixed_bfloat16")
    stored(tmp_path, *paired(CASE, other, 1.12))
    standing = None if decided is None else Standing(decided)
    profile = replace(PROFILE, launches_max=most)
    done = finished_cases(tmp_path, HERE, profile, lambda ratios: standing if ratios else None)
    assert {case for _group, case in done} == ({CASE, other} if finished else set())
