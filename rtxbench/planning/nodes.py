"""The plan of a run over several nodes: each workload on one node and on all, and what a link would make of it."""

from msgspec.structs import replace

from rtxbench.diagnosis.scaling import predicted_step, ring
from rtxbench.engines.refusals import COMPILERS
from rtxbench.errors import UsageError
from rtxbench.lookup import named
from rtxbench.measure.groups import Group, Request, case_of
from rtxbench.placement import batch_sharing_placement
from rtxbench.planning.duration import Machine, step_s
from rtxbench.planning.memory import step_memory
from rtxbench.records import Case, Environment
from rtxbench.units import format_bytes, format_duration, format_percent, format_quantity

__all__ = ["DEFAULT_WORKLOADS", "link_lines", "node_groups"]

DEFAULT_WORKLOADS = ("mlp-wide",)
_ADAM_STATE: float = 3.0
"""Weights and two slots: a trainable parameter's state is three times its gradient."""


def node_groups(request: Request, environment: Environment, ranks: int) -> list[Group]:
    """Hold all ranks against one: the same global batch (strong scaling) and the same per rank (weak scaling).

    Args:
        request: engine, workloads and batch; claims have plans of their own.
        environment: of rank 0's machine.
        ranks: in all.

    Raises:
        UsageError: fewer than two ranks, no one engine, or options of other runs.
    """
    named(COMPILERS, request.engine, "engine")
    if ranks < 2:
        raise UsageError("one rank is no job over several nodes.", next_step="Start rtxbench on two nodes or more.")
    if request.claims or request.claims_file or request.model or request.search or request.logical_devices:
        raise UsageError(
            "--nodes measures workloads of the suite over several nodes, and nothing else.",
            next_step="Leave out --claim, --file, --model, --search and --logical-devices.",
        )
    return [_group(name, request, environment, ranks) for name in request.workloads or DEFAULT_WORKLOADS]


def _group(workload: str, request: Request, environment: Environment, ranks: int) -> Group:
    kind = "gpu" if environment.gpus else "cpu"
    one = case_of(workload, request, placement=kind, kind=kind)
    if request.compilers:
        one = replace(one, compiler=request.compilers[0])
    one = replace(one, batch_size=max(1, one.batch_size // ranks) * ranks)
    placement = batch_sharing_placement(request.engine, over_network=True, device_kind=kind)
    strong = replace(one, placement=placement, device_count=ranks)
    weak = replace(strong, batch_size=one.batch_size * ranks)
    return Group(f"nodes/{workload}", "nodes", workload, one, (strong, weak))


def link_lines(groups: list[Group], machine: Machine, bit_per_s: float) -> list[str]:
    """Predict what each group's cases over several nodes gain by a link of this speed, a line each."""
    lines = [f"over a link of {format_quantity(bit_per_s, 'bit/s')}, all predicted:"]
    for group in groups:
        assert group.baseline is not None
        lines += [f"  {_predicted(group.baseline, case, machine, bit_per_s)}" for case in group.candidates]
    return lines


def _predicted(one: Case, case: Case, machine: Machine, bit_per_s: float) -> str:
    held = step_memory(case)
    if held is None:
        return f"{case.label}: unknown, the size of its gradients was never counted"
    gradient_bytes, ranks = held.state_bytes / _ADAM_STATE, case.device_count
    alone_s = step_s(one, machine)
    share = replace(one, batch_size=max(1, case.batch_size // ranks))
    found = predicted_step(step_s(share, machine), gradient_bytes, ring(bit_per_s, ranks))
    work = case.batch_size / one.batch_size
    gains = [work * alone_s / seconds for seconds in (found.most_step_s, found.least_step_s)]
    efficiency = "–".join(format_percent(gain / ranks, 0) for gain in gains)
    return (
        f"{case.label}: {gains[0]:.2f}× to {gains[1]:.2f}× one node ({efficiency} of linear); all-reduce of "
        f"{format_bytes(gradient_bytes)} {format_duration(found.all_reduce_s)}, "
        "the first with none of it hidden behind the backward pass, the second with all that can be"
    )
