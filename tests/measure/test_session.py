"""One run on disk: header, records, retries; measured with user steps in real workers."""

from pathlib import Path

import pytest

from rtxbench.hardware.environment import describe
from rtxbench.measure import session as session_module
from rtxbench.measure.arms import Arm
from rtxbench.measure.profiles import Profile, WarmUpRule
from rtxbench.measure.session import Session
from rtxbench.measure.summary import case_record
from rtxbench.records import Case, CaseRecord, Flag, RatioRecord
from rtxbench.store import load_run
from rtxbench.workers.process import WorkerSpec

STEPS = """
import time
def _step(seconds):
    def step():
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass
        return 0.5
    return step
def quick():
    return _step(0.001)
def slow():
    return _step(0.01)
def broken():
    raise RuntimeError("no such model")
"""


def profile(**changes: object) -> Profile:
    fields = {
        "name": "test",
        "launches_min": 2,
        "launches_max": 2,
        "rounds": 2,
        "block_s": 0.01,
        "warm_up": WarmUpRule(window_blocks=3, block_s=0.005, cap_s=0.2),
        "group_budget_s": 60.0,
        "ceiling_budget_s": 0.0,
    }
    return Profile(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def arms(tmp_path: Path) -> dict[str, Arm]:
    (tmp_path / "mysteps.py").write_text(STEPS)
    root = Path(session_module.__file__).parents[2]
    spec = WorkerSpec(engine="python", environment={"PYTHONPATH": f"{tmp_path}:{root}"})
    return {
        name: Arm(Case(workload=f"mysteps:{name}", batch_size=4, engine="python"), spec)
        for name in ("quick", "slow", "broken")
    }


def test_a_run_holds_header_cases_ratio_and_trace(tmp_path: Path, arms: dict[str, Arm]) -> None:
    """What a session leaves on disk loads back whole, with the hardware seen while the blocks ran."""
    with Session(tmp_path / "results", profile(), ("test",), environment=describe()) as session:
        session.measure_arms("g", [arms["quick"], arms["slow"]])
    loaded = load_run(session.path)
    assert loaded.run.command == ("test",)
    cases = loaded.of_kind(CaseRecord)
    assert [case.status for case in cases] == ["measured", "measured"]
    assert all(case.hardware is not None for case in cases)
    (ratio,) = loaded.of_kind(RatioRecord)
    assert ratio.ratio.value < 1  # a step ten times as long is slower on any machine
    assert session.path.with_suffix(".trace.jsonl").exists()


def test_a_step_that_cannot_be_built_is_a_record_with_its_reason(tmp_path: Path, arms: dict[str, Arm]) -> None:
    """The failing case is stored with what went wrong and what to do; the other one is measured."""
    with Session(tmp_path / "results", profile(), ("test",), record_hardware=False) as session:
        outcome = session.measure_arms("g", [arms["quick"], arms["broken"]])
    failed = outcome.cases[arms["broken"].case]
    assert failed.status == "failed"
    assert "no such model" in failed.reason
    assert outcome.cases[arms["quick"].case].status == "measured"
    assert outcome.ratios == []


def test_a_session_that_measured_nothing_leaves_nothing(tmp_path: Path) -> None:
    """No empty results file and no trace of nothing."""
    with Session(tmp_path / "results", profile(), ("test",)):
        pass
    assert list((tmp_path / "results").rglob("*.jsonl")) == []


def test_an_invalid_environment_is_measured_again_and_every_attempt_kept(
    tmp_path: Path, arms: dict[str, Arm], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two invalid attempts and a valid one leave three records of the case, the last of them without the flag."""
    flags = [
        (Flag(code="steal", severity="invalid", detail="x"),),
        (Flag(code="steal", severity="invalid", detail="x"),),
    ]

    def flagged(*args: object, **options: object) -> CaseRecord:
        from msgspec.structs import replace

        return replace(case_record(*args, **options), flags=flags.pop() if flags else ())  # type: ignore[arg-type]

    monkeypatch.setattr(session_module, "case_record", flagged)
    with Session(tmp_path / "results", profile(retries=2), ("test",), record_hardware=False) as session:
        outcome = session.measure_arms("g", [arms["quick"]])
    assert outcome.cases[arms["quick"].case].flags == ()
    assert [bool(case.flags) for case in load_run(session.path).of_kind(CaseRecord)] == [True, True, False]


def test_resume_leaves_out_only_what_an_earlier_run_finished(tmp_path: Path, arms: dict[str, Arm]) -> None:
    """Finished cases are known by group and case; a pair cut short by an interrupt is measured again."""
    from rtxbench.cli.running import _finished_cases

    environment = describe()
    with Session(
        tmp_path / "r", profile(launches_min=3, launches_max=3), ("t",), record_hardware=False, environment=environment
    ) as session:
        session.measure_arms("whole", [arms["quick"]])
    with Session(
        tmp_path / "r", profile(launches_min=1, launches_max=1), ("t",), record_hardware=False, environment=environment
    ) as session:
        session.measure_arms("cut", [arms["quick"]])
    done = _finished_cases(tmp_path / "r", environment, profile(launches_min=5, launches_max=5))
    assert done == {("whole", arms["quick"].case)}
