"""The paired protocol, on steps whose duration is known because the test makes it."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

import rtxbench
from rtxbench.errors import MeasurementError, RtxbenchError
from rtxbench.measure.paired.arms import Arm
from rtxbench.measure.paired.launch import round_order
from rtxbench.measure.paired.loop import measure_pairing
from rtxbench.measure.profiles import Profile, WarmUpRule
from rtxbench.records import Case
from rtxbench.workers.process import WorkerProcess, WorkerSpec
from rtxbench.workers.protocol import Block, Build, Built, Describe, Described, Ready, Timed

PROFILE = Profile(
    name="test",
    launches_min=5,
    launches_max=5,
    rounds=4,
    block_s=0.02,
    warm_up=WarmUpRule(window_blocks=3, block_s=0.01, cap_s=5.0),
    group_budget_s=1000.0,
)


class FakeWorker:
    """Stands in for a worker process at the pipe: answers with a virtual machine's clock."""

    def __init__(self, machine: "Machine") -> None:
        self.machine = machine
        self.spec = WorkerSpec(engine="python")
        self.pid = 1

    def ask(self, request: object, expected: type, limit_s: float) -> object:
        return self.machine.answer(request)

    def await_ready(self) -> Ready:
        return Ready(engine="python", versions={"library": "1"}, devices=())

    def close(self) -> None: ...

    def kill(self) -> None: ...


class Machine:
    """A machine whose steps take exactly ``step_s[arm]`` seconds, drifting by ``drift`` per second of its clock.

    What is built last in a launch runs faster by ``favour_last``.
    """

    def __init__(
        self,
        step_s: dict[str, float],
        drift: float = 0.0,
        failing: str = "",
        nan: str = "",
        favour_last: float = 0.0,
    ) -> None:
        self.now_s = 0.0
        self.favour_last = favour_last
        self.last = ""
        self.step_s = step_s
        self.drift = drift
        self.failing = failing
        self.nan = nan
        self.order: list[str] = []

    def start(self, arms: Sequence[Arm]) -> dict[str, WorkerProcess]:
        worker = FakeWorker(self)
        return {arm.key: worker for arm in arms}  # type: ignore[misc]

    def answer(self, request: object) -> object:
        match request:
            case Build(arm=arm):
                if arm == self.failing:
                    raise MeasurementError("out of device memory.", next_step="Lower the batch size.")
                self.last = arm
                return Built(build_s=0.1, first_step_s=0.2)
            case Block(arm=arm, steps=steps, lead_in=lead_in):
                self._run(arm, lead_in)
                start = self.now_s
                self._run(arm, steps)
                self.order.append(arm)
                return Timed(start_ns=round(start * 1e9), end_ns=round(self.now_s * 1e9))
            case Describe(arm=arm):
                return Described(loss=math.nan if arm == self.nan else 0.5, peak_memory_bytes=None)
        raise AssertionError(request)

    def _run(self, arm: str, steps: int) -> None:
        for _ in range(steps):
            favour = self.favour_last if arm == self.last else 0.0
            self.now_s += self.step_s[arm] * (1 + self.drift * self.now_s) * math.exp(-favour)


def arms(*names: str) -> list[Arm]:
    return [Arm(Case(workload=name, batch_size=1), WorkerSpec(engine="python"), name=name) for name in names]


def measure(machine: Machine, *names: str, profile: Profile = PROFILE, planted: float = 0.0):
    built = arms(*names)
    if planted:
        built[-1] = Arm(built[-1].case, built[-1].spec, name=names[-1], planted_slowdown_ratio=planted)
    return measure_pairing(built, profile, start=machine.start)


def test_the_ratio_of_two_known_step_times_is_found_exactly() -> None:
    """Without noise the launch log-ratio equals ln(B/A)."""
    pairing = measure(Machine({"a": 0.001, "b": 0.0012}), "a", "b")
    assert pairing.log_ratios["b"] == pytest.approx([math.log(1.2)] * 5, rel=1e-6)


def test_linear_drift_cancels_within_a_round() -> None:
    """A machine that slows down steadily biases neither arm: mirrored blocks cancel the drift."""
    pairing = measure(Machine({"a": 0.001, "b": 0.001}, drift=0.01), "a", "b")
    assert pairing.log_ratios["b"] == pytest.approx([0.0] * 5, abs=1e-4)


def test_what_is_built_last_gains_nothing_over_two_launches() -> None:
    """Arms take turns at being first, so an advantage of place has both signs and cancels."""
    profile = Profile(**{**PROFILE.__dict__, "launches_min": 4, "launches_max": 4})
    pairing = measure(Machine({"a": 0.001, "b": 0.001}, favour_last=0.02), "a", "b", profile=profile)
    assert pairing.log_ratios["b"] == pytest.approx([-0.02, 0.02, -0.02, 0.02], rel=1e-6)


def test_a_planted_slowdown_is_found_as_planted() -> None:
    """Running 21 steps and counting 20 shows as exactly 5 %."""
    pairing = measure(Machine({"a": 0.001, "b": 0.001}), "a", "b", planted=0.05)
    assert pairing.log_ratios["b"] == pytest.approx([math.log(1.05)] * 5, rel=1e-6)


def test_every_round_is_a_mirrored_rotation() -> None:
    """Orders alternate ABBA and BAAB, and every arm has two blocks symmetric about the middle."""
    assert [round_order(2, number) for number in range(2)] == [[0, 1, 1, 0], [1, 0, 0, 1]]
    for number in range(4):
        order = round_order(3, number)
        assert order == order[::-1]
        assert sorted(order) == [0, 0, 1, 1, 2, 2]


def test_a_failing_arm_is_given_up_and_the_others_go_on() -> None:
    """Out of memory in one arm is that arm's failure, with its reason; the pair without it is measured."""
    pairing = measure(Machine({"a": 0.001, "b": 0.001, "c": 0.001}, failing="b"), "a", "b", "c")
    assert isinstance(pairing.results[1].failure, MeasurementError)
    assert len(pairing.log_ratios["c"]) == 5
    assert pairing.log_ratios["b"] == []


def test_a_loss_that_is_not_finite_fails_the_arm() -> None:
    """Speed without training is no result."""
    pairing = measure(Machine({"a": 0.001, "b": 0.001}, nan="b"), "a", "b")
    assert "loss became nan" in str(pairing.results[1].failure)


def test_a_ramp_is_not_called_steady() -> None:
    """An arm that slows down by several per cent per window reaches the cap, and its launches say so."""
    rule = WarmUpRule(window_blocks=3, block_s=0.01, cap_s=0.0)
    profile = Profile(
        name="t", launches_min=2, launches_max=2, rounds=2, block_s=0.02, warm_up=rule, group_budget_s=1000.0
    )
    pairing = measure(Machine({"a": 0.001, "b": 0.001}, drift=1.0), "a", "b", profile=profile)
    assert not any(launch.warmup_ok for launch in pairing.results[0].launches)


def test_ctrl_c_keeps_the_finished_launches() -> None:
    """An interrupt in launch 3 leaves two launches and says so."""
    machine = Machine({"a": 0.001, "b": 0.001})
    starts = 0

    def start(arms_: Sequence[Arm]) -> dict[str, WorkerProcess]:
        nonlocal starts
        starts += 1
        if starts == 3:
            raise KeyboardInterrupt
        return machine.start(arms_)

    pairing = measure_pairing(arms("a", "b"), PROFILE, start=start)
    assert pairing.interrupted
    assert pairing.launches == 2


def test_a_budget_that_is_spent_by_the_first_launch_buys_one() -> None:
    """Of a group whose next launch would not end in time, one complete attempt is made."""
    profile = Profile(**{**PROFILE.__dict__, "group_budget_s": 1e-9})
    assert measure(Machine({"a": 0.001, "b": 0.001}), "a", "b", profile=profile).launches == 1


def test_a_worker_that_cannot_start_fails_every_arm_with_the_reason() -> None:
    """No exception escapes the measuring of a group: its cases become failed records."""

    def start(arms_: Sequence[Arm]) -> dict[str, WorkerProcess]:
        raise MeasurementError("the worker process died.", next_step="Run `rtxbench doctor`.")

    pairing = measure_pairing(arms("a", "b"), PROFILE, start=start)
    assert all(isinstance(result.failure, RtxbenchError) for result in pairing.results)


def test_a_user_step_is_measured_in_a_real_process(tmp_path: Path) -> None:
    """The `python` engine times a real function in a real worker: 50 ms against 2 ms reads as slower."""
    (tmp_path / "steps.py").write_text(
        "import time\n"
        "def make(seconds):\n"
        "    def step():\n"
        "        end = time.perf_counter() + seconds\n"
        "        while time.perf_counter() < end: pass\n"
        "    return step\n"
        "def quick(): return make(0.002)\n"
        "def slow(): return make(0.05)\n"
    )
    spec = WorkerSpec(engine="python", directory=tmp_path, environment={"PYTHONPATH": _path_with(tmp_path)})
    pair = [Arm(Case(workload=f"steps:{name}", batch_size=1, engine="python"), spec) for name in ("quick", "slow")]
    pairing = measure_pairing(pair, Profile(**{**PROFILE.__dict__, "launches_min": 2, "launches_max": 2}))
    assert math.exp(pairing.log_ratios[pair[1].key][0]) > 2


def _path_with(folder: Path) -> str:
    return os.pathsep.join([str(folder), str(Path(rtxbench.__file__).parents[1])])
