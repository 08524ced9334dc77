"""The contract of peak memory: each arm's own, whatever else its launches hold. The allocator is a fake."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from rtxbench.engines.contract import EngineFigure
from rtxbench.measure import alone as alone_module
from rtxbench.measure import own_memory
from rtxbench.measure.alone import fill_in_peaks
from rtxbench.measure.own_memory import NOT_ALONE, peak_alone, resident_bytes
from rtxbench.measure.paired.arms import Arm
from rtxbench.measure.paired.loop import measure_pairing
from rtxbench.measure.paired.result import PairedResult
from rtxbench.measure.profiles import Profile, ShortWarmUp
from rtxbench.measure.summary import case_record
from rtxbench.measure.worker import Worker
from rtxbench.records import Case
from rtxbench.workers.process import WorkerSpec
from rtxbench.workers.protocol import Build, Describe, Ready

NEEDS = {"float32": (2000, 6000), "mixed_float16": (1000, 3000)}
"""Precision → bytes of weights, which stay, and of activations, which live for a step."""


class FakeAllocator:
    """A process-wide allocator as TensorFlow's and PyTorch's are: what is resident, and the highest it ever was."""

    def __init__(self) -> None:
        self.current = self.peak = 0

    def take(self, size: int) -> None:
        """Allocate; the peak follows."""
        self.current += size
        self.peak = max(self.peak, self.current)


class FakeStep:
    """A step whose weights are resident from the build on and whose activations live while it runs."""

    def __init__(self, allocator: FakeAllocator, case: Case) -> None:
        self.allocator = allocator
        self.weights, self.activations = NEEDS[case.precision]
        allocator.take(self.weights)

    def activate(self) -> None: ...

    def run(self, steps: int) -> None:
        self.allocator.take(self.activations)
        self.allocator.current -= self.activations

    def loss(self) -> float:
        return 0.5

    def flops(self) -> EngineFigure:
        return EngineFigure(None, "a fake")


class FakeEngine:
    """One engine in one process."""

    name = "tensorflow"

    def __init__(self) -> None:
        self.allocator = FakeAllocator()

    def versions(self) -> dict[str, str]:
        return {}

    def devices(self) -> list[object]:
        return []

    def build(self, case: Case, seed: int) -> FakeStep:
        return FakeStep(self.allocator, case)

    def matmul_error(self, case: Case) -> EngineFigure:
        return EngineFigure(None, "a fake")

    def convolution_error(self, case: Case) -> EngineFigure:
        return EngineFigure(None, "a fake")

    def peak_memory(self) -> EngineFigure:
        return EngineFigure(float(self.allocator.peak), "allocator peak")

    def reset_peak_memory(self) -> None:
        self.allocator.peak = self.allocator.current


class InProcess:
    """The real `Worker` answering without a pipe."""

    def __init__(self) -> None:
        self.worker = Worker(FakeEngine())  # type: ignore[arg-type]
        self.spec = WorkerSpec(engine="tensorflow")
        self.pid = 1

    def await_ready(self) -> object:
        return Ready(engine="tensorflow", versions={}, devices=())

    def ask(self, request: object, expected: type, limit_s: float) -> object:
        return self.worker.answer(request)  # type: ignore[arg-type]

    def close(self) -> None: ...

    def kill(self) -> None: ...


def arms() -> list[Arm]:
    return [
        Arm(Case(workload="mlp", batch_size=1, placement="gpu", precision=name), WorkerSpec(engine="tensorflow"))
        for name in NEEDS
    ]


def measured(launches: int) -> PairedResult:
    """Launches whose arms share a process, as precisions do."""

    def start(arms_: Sequence[Arm]) -> dict[str, InProcess]:
        shared = InProcess()
        return {arm.key: shared for arm in arms_}

    profile = Profile(
        name="t",
        launches_min=launches,
        launches_max=launches,
        rounds=2,
        block_s=1e-4,
        warm_up=ShortWarmUp(seconds=1e-4, block_s=1e-5),
        group_budget_s=1e9,
        solo_blocks=0,
    )
    pairing = measure_pairing(arms(), profile, start=start)  # type: ignore[arg-type]
    assert [result.failure for result in pairing.results] == [None, None]
    return pairing


def test_arms_that_share_a_process_report_each_its_own_peak() -> None:
    """8,000 and 4,000 bytes alone are 8,000 and 4,000 in the records, though the process came to 9,000."""
    pairing = measured(launches=4)
    peaks = [case_record("r", "g", r, None, (), adaptive=False).measurement.peak_memory_bytes for r in pairing.results]
    assert peaks == [8000, 4000]


def test_a_launch_tells_of_the_arm_that_was_first_in_it() -> None:
    """The other arm's launch has no figure: nothing is carried over from another launch or another arm."""
    pairing = measured(launches=2)
    by_launch = [[launch.peak_memory_bytes for launch in result.launches] for result in pairing.results]
    assert by_launch == [[8000, None], [None, 4000]]


def test_an_arm_that_was_never_first_gets_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """One launch shows the first arm's peak; an extra process with the second alone shows the second's."""
    pairing = measured(launches=1)
    monkeypatch.setattr(alone_module, "start_workers", lambda arms_: {arm.key: InProcess() for arm in arms_})
    fill_in_peaks(pairing)
    record = case_record("r", "g", pairing.results[1], None, (), adaptive=False)
    assert record.measurement.peak_memory_bytes == 4000
    assert record.measurement.peak_memory_method == "allocator peak"
    assert "peak_memory_bytes" not in record.missing


def test_a_worker_refuses_a_peak_in_company() -> None:
    """The second arm of a process has no figure, with the reason."""
    worker = InProcess()
    for arm in arms():
        worker.ask(Build(arm=arm.key, case=arm.case, seed=0), object, 1)
    first, second = (worker.ask(Describe(arm=arm.key), object, 1) for arm in arms())
    assert first.peak_memory_bytes == 8000
    assert second.peak_memory_bytes is None
    assert second.missing["peak_memory_bytes"] == NOT_ALONE.how


class Holding:
    """A step that holds so many bytes while it runs and frees them after."""

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, steps: int) -> None:
        block = bytearray(self.size)
        block[::4096] = b"x" * len(block[::4096])  # touched, hence resident


def test_on_a_cpu_the_resident_set_above_the_idle_worker_counts() -> None:
    """64 MiB that a step holds and frees again show, above what the process held before."""
    idle_bytes = resident_bytes()
    if idle_bytes is None:
        pytest.skip("this system has no /proc")
    case = Case(workload="mlp", batch_size=1)
    found = peak_alone(FakeEngine(), Holding(64 * 2**20), case, idle_bytes)  # type: ignore[arg-type]
    assert found.value == pytest.approx(64 * 2**20, rel=0.1)


def test_a_system_that_does_not_say_gives_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a resettable peak there is no figure rather than one that includes the import of the framework."""
    monkeypatch.setattr(own_memory, "_CLEAR", tmp_path / "no" / "clear_refs")
    found = peak_alone(FakeEngine(), Holding(1), Case(workload="mlp", batch_size=1), 1)  # type: ignore[arg-type]
    assert found.value is None
    assert "does not let a process reset" in found.how
