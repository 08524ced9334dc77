"""One run on disk: header, records, retries; measured with user steps in real workers."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from rtxbench.hardware.environment import describe
from rtxbench.measure import group_records as records_module
from rtxbench.measure import session as session_module
from rtxbench.measure.groups import Group
from rtxbench.measure.paired.arms import Arm
from rtxbench.measure.paired.loop import GroupRun
from rtxbench.measure.profiles import Profile, WarmUpRule
from rtxbench.measure.session import Session, Standing, _arms
from rtxbench.measure.summary import case_record
from rtxbench.records import Case, CaseRecord, Flag, RatioRecord
from rtxbench.results.store import load_run
from rtxbench.workers.process import WorkerProcess, WorkerSpec

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
        session.measure_arms({"g": [arms["quick"], arms["slow"]]})["g"]
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
        outcome = session.measure_arms({"g": [arms["quick"], arms["broken"]]})["g"]
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
    attempts: list[str] = []

    def flagged(*args: object, **options: object) -> CaseRecord:
        record = case_record(*args, **options)  # type: ignore[arg-type]
        if record.record_id not in attempts:
            attempts.append(record.record_id)
        steal = Flag(code="steal", severity="invalid", detail="x")
        return replace(record, flags=(steal,) if attempts.index(record.record_id) < 2 else ())

    monkeypatch.setattr(records_module, "case_record", flagged)
    with Session(tmp_path / "results", profile(retries=2), ("test",), record_hardware=False) as session:
        outcome = session.measure_arms({"g": [arms["quick"]]})["g"]
    assert outcome.cases[arms["quick"].case].flags == ()
    assert [bool(case.flags) for case in load_run(session.path).of_kind(CaseRecord)] == [True, True, False]


def test_resume_leaves_out_only_what_an_earlier_run_finished(tmp_path: Path, arms: dict[str, Arm]) -> None:
    """Finished cases are known by group and case; a pair cut short by an interrupt is measured again."""
    from rtxbench.cli.groups import finished_cases

    environment = describe()
    with Session(
        tmp_path / "r", profile(launches_min=3, launches_max=3), ("t",), record_hardware=False, environment=environment
    ) as session:
        session.measure_arms({"whole": [arms["quick"]]})["whole"]
    with Session(
        tmp_path / "r", profile(launches_min=1, launches_max=1), ("t",), record_hardware=False, environment=environment
    ) as session:
        session.measure_arms({"cut": [arms["quick"]]})["cut"]
    done = finished_cases(tmp_path / "r", environment, profile(launches_min=3, launches_max=8))
    assert done == {("whole", arms["quick"].case)}


def test_groups_are_measured_in_turn_and_every_launch_is_stored(tmp_path: Path, arms: dict[str, Arm]) -> None:
    """After each launch the file on disk holds what is finished of every group, as one record per case."""
    stored: list[dict[str, int]] = []
    order: list[str] = []
    groups = {"g": [arms["quick"], arms["slow"]], "h": [arms["quick"]]}
    with Session(tmp_path / "r", profile(), ("t",), record_hardware=False) as session:

        def launched(run: GroupRun, standing: Standing, left_s: float) -> None:
            order.append(run.name)
            records = load_run(session.path).of_kind(CaseRecord)
            stored.append({f"{r.group}/{r.case.workload}": len(r.measurement.launches) for r in records})

        session.measure_arms(groups, launched)
    assert order == ["g", "h", "g", "h"]
    assert stored[0] == {"g/mysteps:quick": 1, "g/mysteps:slow": 1}
    assert stored[2] == {"g/mysteps:quick": 2, "g/mysteps:slow": 2, "h/mysteps:quick": 1}
    assert session.path.read_text().count('"kind":"case"') == 3  # superseded editions are gone from the file


def test_the_injected_question_decides_how_many_launches(tmp_path: Path, arms: dict[str, Arm]) -> None:
    """A group whose question is answered at three launches gets three, an open one what is left."""
    answered = {"sure": 3, "close": 6}

    def question(ratios: Sequence[RatioRecord]) -> Standing | None:
        return Standing(len(ratios[0].log_ratios) >= answered[ratios[0].group])

    long = profile(launches_min=3, launches_max=8, solo_blocks=0)
    with Session(tmp_path / "r", long, ("t",), record_hardware=False, question=question) as session:
        outcomes = session.measure_arms({name: [arms["quick"], arms["slow"]] for name in answered})
    assert {name: outcome.ratios[0].ratio.n for name, outcome in outcomes.items()} == answered


def test_an_interrupted_session_keeps_the_launches_of_every_group(
    tmp_path: Path, arms: dict[str, Arm], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the second launch of the second group leaves two launches of the first and one of the second."""
    made: list[str] = []
    launch = GroupRun.launch

    def until_fourth(run: GroupRun) -> None:
        made.append(run.name)
        if len(made) == 4:
            raise KeyboardInterrupt
        launch(run)

    monkeypatch.setattr(GroupRun, "launch", until_fourth)
    with Session(tmp_path / "r", profile(), ("t",), record_hardware=False) as session:
        outcomes = session.measure_arms({"g": [arms["quick"]], "h": [arms["quick"]]})
    assert all(outcome.interrupted for outcome in outcomes.values())
    loaded = load_run(session.path)
    assert {r.group: len(r.measurement.launches) for r in loaded.of_kind(CaseRecord)} == {"g": 2, "h": 1}


def test_one_arm_alone_gives_the_sustained_figure(tmp_path: Path, arms: dict[str, Arm]) -> None:
    """Each arm's long run is its own part of the record: half of it discarded, its throughput that of the step."""
    with Session(tmp_path / "r", profile(sustained_cpu_s=0.4), ("t",)) as session:
        outcome = session.measure_arms({"g": [arms["quick"], arms["slow"]]})["g"]
    for name, at_most_per_s in (("quick", 4 / 0.001), ("slow", 4 / 0.01)):
        sustained = outcome.cases[arms[name].case].measurement.sustained
        assert sustained.discarded_s >= 0.15
        assert (sustained.window_ns[1] - sustained.window_ns[0]) / 1e9 >= 0.1
        assert 0 < sustained.throughput_per_s <= at_most_per_s  # a step waits for at least its seconds
        assert sustained.power_w is not None or sustained.missing["power_w"]


def test_workers_of_one_gpu_see_one_gpu() -> None:
    """Fault 17: TensorFlow opens a context on every visible card; only a group on several cards sees them all."""
    one = Case(workload="mlp", batch_size=8, placement="gpu")
    two = replace(one, placement="mirrored", device_count=2)
    alone = _arms(Group("c/mlp", "c", "mlp", one, (replace(one, precision="tf32"),)), None, ["GPU-a", "GPU-b"])
    shared = _arms(Group("c/mlp", "c", "mlp", one, (two,)), None, ["GPU-a", "GPU-b"])
    assert {arm.spec.environment.get("CUDA_VISIBLE_DEVICES") for arm in alone} == {"GPU-a"}
    assert {arm.spec.environment.get("CUDA_VISIBLE_DEVICES") for arm in shared} == {None}


def test_arms_that_do_not_fit_together_take_turns_as_whole_processes(
    tmp_path: Path, arms: dict[str, Arm], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 7: one process at a time, the order turned from launch to launch, and a ratio as of any other group."""
    alive: list[int] = []
    most: list[int] = []
    real_start, real_close = WorkerProcess.__init__, WorkerProcess.kill

    def started(self: WorkerProcess, *arguments: object, **named: object) -> None:
        alive.append(id(self))
        most.append(len(alive))
        real_start(self, *arguments, **named)  # type: ignore[arg-type]

    def ended(self: WorkerProcess) -> None:
        if id(self) in alive:
            alive.remove(id(self))
        real_close(self)

    monkeypatch.setattr(WorkerProcess, "__init__", started)
    monkeypatch.setattr(WorkerProcess, "kill", ended)
    pair = [dataclasses.replace(arms[name], apart=True) for name in ("quick", "slow")]
    with Session(tmp_path, profile(), ("test",), record_hardware=False) as session:
        outcome = session.measure_arms({"g": pair})["g"]
    (ratio,) = outcome.ratios
    assert max(most) == 1
    assert ratio.ratio.value < 1  # a step ten times as long is slower on any machine
    assert len(ratio.log_ratios) == 2
