"""One rank of DistributedDataParallel over several machines: NCCL between GPUs, gloo between CPUs."""

import time
from collections.abc import Sequence
from typing import Any

from rtxbench.engines.nodes.messages import Member
from rtxbench.engines.nodes.share import Share
from rtxbench.engines.torch.ddp import join_ranks, run_together
from rtxbench.engines.torch.replica import translated_errors
from rtxbench.placement import placement_named
from rtxbench.records import Case

__all__ = ["TorchShare"]


class TorchShare(Share):
    """One rank's share of a case.

    Raises:
        MeasurementError: the ranks did not meet.
    """

    def __init__(self, torch: Any, case: Case, seed: int, member: Member) -> None:
        self._torch = torch
        self._case = case
        self._device = f"cuda:{member.device}" if placement_named(case.placement).device_kind == "gpu" else "cpu"
        self._replica = join_ranks(
            torch,
            case,
            seed,
            rank=member.rank,
            device=member.device,
            meeting=f"tcp://{member.addresses[0]}",
            threads=member.threads,
        )
        super().__init__(self._replica, f"torch.distributed, {torch.distributed.get_backend()}")

    def run(self, steps: int) -> None:
        """Run ``steps`` steps together with the other ranks; returns when all have finished the last one."""
        with translated_errors():
            run_together(self._torch, self._replica, self._case, steps)

    def all_reduce_s(self, size_bytes: int, repeats: int) -> Sequence[float]:
        """Sum a float32 tensor over the ranks; seconds of each repeat after one to warm up."""
        summed = self._torch.ones(max(1, size_bytes // 4), device=self._device)
        times = []
        with translated_errors():
            for _ in range(repeats + 1):
                self._torch.distributed.barrier()
                began = time.perf_counter()
                self._torch.distributed.all_reduce(summed)
                if self._device != "cpu":
                    self._torch.cuda.synchronize()
                times.append(time.perf_counter() - began)
                summed.fill_(1.0)
        return times[1:]
