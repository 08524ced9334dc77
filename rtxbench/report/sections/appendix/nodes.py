"""Several machines in one job: where the ranks were, what their link gives, and what that predicts of the scaling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from rtxbench.diagnosis.scaling import fitted_link, predicted_step
from rtxbench.records import Case, CaseRecord, Node, Observation, RatioRecord
from rtxbench.report.parts import Block, Cell, Column, Context, Paragraph, Table
from rtxbench.units import format_bytes, format_duration, format_percent, format_quantity
from rtxbench.wording import engine_name

__all__ = ["nodes_blocks"]


def nodes_blocks(context: Context, title: str, ratios: Sequence[RatioRecord]) -> Iterable[Block]:
    """Show each job over several machines: its ranks, its link, and what the link predicts.

    Args:
        context: of the report.
        title: of the machine of rank 0.
        ratios: of several devices against one, on that machine.
    """
    cases = {record.record_id: record for loaded in context.runs for record in loaded.of_kind(CaseRecord)}
    arms = [(ratio, cases.get(ratio.candidate_record)) for ratio in ratios]
    jobs = [(ratio, arm) for ratio, arm in arms if arm is not None and arm.measurement and arm.measurement.nodes]
    if not jobs:
        return
    yield Paragraph(
        "Over several machines the gradients cross a network. What its link gives is measured by summing arrays over "
        "the same ranks with nothing beside; the step is predicted from that and from the same work on one machine, "
        "with all of the summing hidden behind the backward pass that can be, and with none."
    )
    yield _ranks_table(title, jobs[-1][1])
    links = {arm.case: _all_reduces(context, arm) for _, arm in jobs}
    yield Table(
        caption=f"What the link of {title} predicts",
        columns=(
            Column("workload"),
            Column("all-reduce by size"),
            Column("step", numeric=True),
            Column("predicted", numeric=True),
        ),
        rows=tuple(_link_row(context, cases, ratio, arm, links[arm.case]) for ratio, arm in jobs),
    )


def _ranks_table(title: str, job: CaseRecord) -> Table:
    assert job.measurement is not None
    return Table(
        caption=f"Ranks of the last job that {title} led",
        columns=(
            Column("rank", numeric=True),
            Column("host"),
            Column("machine"),
            Column("device"),
            Column("interface"),
            Column("link", numeric=True),
        ),
        rows=tuple(
            (str(node.rank), node.host, node.machine, node.device, node.interface or "", _speed(node))
            for node in job.measurement.nodes
        ),
    )


def _speed(node: Node) -> Cell | str:
    if node.link_bit_per_s is None:
        return Cell("", note=node.missing.get("link_bit_per_s", "unknown"))
    return format_quantity(node.link_bit_per_s, "bit/s")


def _all_reduces(context: Context, job: CaseRecord) -> dict[int, float]:
    """Map each size in bytes to the median seconds of an all-reduce over the job's ranks, in its own run."""
    found: dict[int, float] = {}
    for loaded in context.runs:
        if loaded.run.run_id == job.run_id:
            for record in loaded.of_kind(Observation):
                if record.metric == "link_all_reduce_s" and record.case == job.case:
                    times = [seconds for seconds in record.values if seconds > 0]
                    found |= {int(float(record.labels["bytes"])): median(times)} if times else {}
    return found


def _link_row(
    context: Context,
    cases: Mapping[str, CaseRecord],
    ratio: RatioRecord,
    job: CaseRecord,
    link: Mapping[int, float],
) -> tuple[Cell | str, ...]:
    assert job.measurement is not None
    case = job.case
    curve = " · ".join(f"{format_bytes(size)} {format_duration(link[size])}" for size in sorted(link))
    step_s = job.measurement.step_time_s.value
    return (
        Cell(case.workload, note=f"{engine_name(case)}, {_scaling(ratio.baseline, case)}, {case.device_count} ranks"),
        curve or Cell("", note="not measured: profile smoke explains nothing"),
        format_duration(step_s),
        _prediction(context, cases.get(ratio.baseline_record), job, link, step_s),
    )


def _scaling(one: Case, many: Case) -> str:
    return "strong scaling" if one.batch_size == many.batch_size else "weak scaling"


def _prediction(
    context: Context, one: CaseRecord | None, job: CaseRecord, link: Mapping[int, float], step_s: float
) -> Cell | str:
    """Predict the step of weak scaling, whose work on each machine was measured by itself."""
    if one is None or one.measurement is None or one.case.batch_size * job.case.device_count != job.case.batch_size:
        return Cell("", note="a rank's share was not measured by itself")
    gradient_bytes = context.diagnoser.evidence(job).gradient_bytes_per_step
    if gradient_bytes is None or len(link) < 2:
        return Cell("", note="gradients or link were not measured")
    found = predicted_step(one.measurement.step_time_s.value, gradient_bytes, fitted_link(link))
    nearest = min(max(step_s, found.least_step_s), found.most_step_s)
    off = "as predicted" if nearest == step_s else f"{format_percent(abs(step_s / nearest - 1), 0)} outside"
    words = f"{format_duration(found.least_step_s)} to {format_duration(found.most_step_s)}"
    return Cell(words, origin="predicted", note=f"measured {off}")
