"""DistributedDataParallel: this process is rank 0, and starts one process per further device.

::

    rank 0 (the worker) ── broadcast: n steps ──► every rank runs n steps; gradients are all-reduced inside backward
                        ◄─ all-reduce: loss ────  every rank; it is also the barrier that ends the block

Gradients and losses go by NCCL between GPUs, by gloo between CPU processes. What a rank waits for, the number of steps,
goes by gloo in the host's memory in either case: a collective of NCCL is a kernel that spins on the waiting rank's GPU,
beside whatever other arm is being timed there, and its watchdog ends a rank that waits for minutes. Each replica
normalises over its own share of the batch, as under MirroredStrategy. A rank that dies breaks the collective of the
others, which ends them.
"""

import atexit
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from rtxbench.engines.contract import EngineFigure
from rtxbench.engines.torch.native import NativeStep
from rtxbench.engines.torch.replica import ReplicaStep, build_replica, translated_errors
from rtxbench.errors import MeasurementError, UnavailableError
from rtxbench.placement import placement_named
from rtxbench.processes import ChildProcess
from rtxbench.records import Case

__all__ = ["DdpStep", "join_ranks", "main", "run_together"]

_END: Final = 0  # broadcast in place of a number of steps
_JOIN_LIMIT = timedelta(minutes=5)
_WAIT_LIMIT = timedelta(days=1)
"""For the next block: other arms warm up and are timed meanwhile."""


class DdpStep:
    """Rank 0's end of a case trained by several processes.

    Raises:
        UnavailableError: too few GPUs, a batch they cannot share, or a second group in one process.
        MeasurementError: a rank did not start.
    """

    def __init__(self, torch: Any, case: Case, seed: int) -> None:
        _check(torch, case)
        self._torch = torch
        self._case = case
        self._folder = tempfile.TemporaryDirectory(prefix="rtxbench-ddp-")
        meeting = Path(self._folder.name) / "store"
        self._ranks = [_start_rank(case, seed, rank, meeting) for rank in range(1, case.device_count)]
        try:
            self._await_ranks(meeting)
            self._replica, self._control = _join(torch, case, seed, 0, meeting)
        except MeasurementError as error:
            raise self._explained(error) from error
        atexit.register(self.close)

    def _await_ranks(self, meeting: Path) -> None:
        """Wait until every rank has imported PyTorch: in a collective, a dead rank would go unseen."""
        deadline = time.monotonic() + _JOIN_LIMIT.total_seconds()
        while not all(_ready_file(meeting, number).exists() for number in range(1, self._case.device_count)):
            if any(rank.status() is not None for rank in self._ranks) or time.monotonic() > deadline:
                raise MeasurementError("a rank did not start.", next_step="Run `rtxbench doctor`.")
            time.sleep(0.05)

    def activate(self) -> None:
        """Switch nothing: every rank set its switches when it was built; a group trains one case only."""

    def run(self, steps: int) -> None:
        """Run ``steps`` steps on every rank; returns when all have finished the last one."""
        try:
            with translated_errors():
                _broadcast(self._torch, self._control, steps)
                run_together(self._torch, self._replica, self._case, steps)
        except MeasurementError as error:
            raise self._explained(error) from error

    def loss(self) -> float | None:
        """Mean loss of the last step over the global batch."""
        return self._replica.loss()

    def flops(self) -> EngineFigure:
        """Multiply one rank's count by the ranks; it was made before their gradients were tied together."""
        return self._replica.flops()

    def state_bytes(self) -> EngineFigure:
        """Count the bytes of model variables and optimizer slots on one rank; each holds all of them."""
        return self._replica.state_bytes()

    def gradient_bytes(self) -> EngineFigure:
        """Count the bytes of one rank's gradients."""
        return self._replica.gradient_bytes()

    def notes(self) -> dict[str, str]:
        """Note the kernel of the model's attention."""
        return self._replica.notes()

    def close(self) -> None:
        """End every rank and leave the group."""
        atexit.unregister(self.close)
        if all(rank.status() is None for rank in self._ranks):
            _broadcast(self._torch, self._control, _END)
        for rank in self._ranks:
            rank.wait(limit_s=10)
            rank.end()
        self._torch.distributed.destroy_process_group()
        self._folder.cleanup()

    def _explained(self, error: MeasurementError) -> MeasurementError:
        """Name the cause: the collective's own message has none, the rank that died printed one."""
        dead = [rank for rank in self._ranks if rank.status() not in (None, 0)]
        if not dead:
            return error
        return MeasurementError(f"a rank of {self._case.label} died ({dead[0].ending()}).", next_step=error.next_step)


def _check(torch: Any, case: Case) -> None:
    if torch.distributed.is_initialized():
        raise UnavailableError("this process already leads a group of ranks.", next_step="Use a worker of its own.")
    available = torch.cuda.device_count() if _on_gpus(case) else case.device_count
    if available < case.device_count or case.batch_size % case.device_count:
        raise UnavailableError(
            f"{case.label} wants {case.device_count} devices sharing {case.batch_size} examples; {available} found.",
            next_step="Lower the device count, or choose a batch size it divides.",
        )


def _on_gpus(case: Case) -> bool:
    return placement_named(case.placement).device_kind == "gpu"


def _ready_file(meeting: Path, rank: int) -> Path:
    return meeting.with_name(f"ready-{rank}")


def _start_rank(case: Case, seed: int, rank: int, meeting: Path) -> ChildProcess:
    arguments = [msgspec.json.encode(case).decode(), str(seed), str(rank), str(meeting)]
    # In this process's group: a rank must not outlive rank 0, which the coordinator may kill.
    return ChildProcess(
        [sys.executable, "-P", "-m", "rtxbench.engines.torch.ddp", *arguments],
        {**os.environ, "KERAS_BACKEND": "torch"},
        piped=False,
        own_group=False,
    )


def _join(torch: Any, case: Case, seed: int, rank: int, meeting: Path) -> tuple[ReplicaStep | NativeStep, Any]:
    """Meet the other ranks and build this one's replica; with it the group by which rank 0 says what to do next."""
    threads = max(1, (os.cpu_count() or 1) // case.device_count)
    replica = join_ranks(torch, case, seed, rank=rank, device=rank, meeting=meeting.as_uri(), threads=threads)
    with translated_errors():
        return replica, torch.distributed.new_group(backend="gloo", timeout=_WAIT_LIMIT)


def join_ranks(
    torch: Any, case: Case, seed: int, *, rank: int, device: int, meeting: str, threads: int
) -> ReplicaStep | NativeStep:
    """Meet the other ranks and build this one's replica, wrapped for gradients to be summed.

    Args:
        torch: the module.
        case: what to train; it has ``device_count`` ranks.
        seed: of weights and batch.
        rank: this process's.
        device: number of its GPU on this machine.
        meeting: ``init_method`` of the group.
        threads: that a CPU rank computes with.

    Raises:
        MeasurementError: a rank did not come.
    """
    cuda = _on_gpus(case)
    if cuda:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(threads)
    with translated_errors():
        torch.distributed.init_process_group(
            "nccl" if cuda else "gloo",
            init_method=meeting,
            rank=rank,
            world_size=case.device_count,
            timeout=_JOIN_LIMIT,
        )
    share = case.batch_size // case.device_count
    replica = build_replica(torch, case, seed, share=slice(rank * share, (rank + 1) * share), index=device)
    devices = [device] if cuda else None
    replica.activate()
    replica.wrap(lambda model: torch.nn.parallel.DistributedDataParallel(model, device_ids=devices))
    return replica


def _broadcast(torch: Any, control: Any, steps: int = _END) -> int:
    message = torch.tensor([steps], dtype=torch.int64, device="cpu")
    torch.distributed.broadcast(message, src=0, group=control)
    return int(message.item())


def run_together(torch: Any, replica: ReplicaStep | NativeStep, case: Case, steps: int) -> None:
    """Run this rank's steps; its ``last_loss`` is then the mean over all ranks, and all have finished."""
    replica.run(steps)
    torch.distributed.all_reduce(replica.last_loss)
    replica.last_loss = replica.last_loss / case.device_count


def main(arguments: Sequence[str]) -> None:
    """Run one further rank: as many steps as rank 0 says, until it says none."""
    os.environ["KERAS_BACKEND"] = "torch"
    import torch

    encoded, seed, rank, meeting = arguments
    case = msgspec.json.decode(encoded, type=Case)
    _ready_file(Path(meeting), int(rank)).touch()
    replica, control = _join(torch, case, int(seed), int(rank), Path(meeting))
    while steps := _broadcast(torch, control):
        run_together(torch, replica, case, steps)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1:])
