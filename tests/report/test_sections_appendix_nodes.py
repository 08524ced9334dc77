"""What the report says of one job over several machines, from records alone."""

from msgspec.structs import replace

from rtxbench.diagnosis.scaling import LinkModel, predicted_step
from rtxbench.records import Case, CaseRecord, Estimate, Node, Observation
from tests.report.test_sections_appendix_engines import measured, observed, ratio, tables, text

ONE = Case(workload="mlp-wide", batch_size=8, engine="torch", variant="native")
WEAK = replace(ONE, placement="ddp-nodes-cpu", device_count=3, batch_size=24)
STRONG = replace(WEAK, batch_size=8)
LINK = LinkModel(0.001, 100e6)
NODES = (
    Node(rank=0, host="alpha", machine="xeon-1", device="cpu:0", interface="eth0", link_bit_per_s=10e9),
    Node(rank=1, host="beta", device="cpu:0", missing={"link_bit_per_s": "the driver of eth0 reports no speed"}),
    Node(rank=2, host="gamma", device="cpu:0", interface="eth1", link_bit_per_s=1e9),
)


def over_nodes(case: Case, step_s: float) -> CaseRecord:
    record = measured(case, 1.0)
    assert record.measurement is not None
    return replace(record, measurement=replace(record.measurement, step_time_s=point(step_s), nodes=NODES))


def point(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value, n=5)


def alone(step_s: float) -> CaseRecord:
    record = measured(ONE, 1.0)
    assert record.measurement is not None
    return replace(record, measurement=replace(record.measurement, step_time_s=point(step_s)))


def link_of(case: Case) -> list[Observation]:
    times = [
        replace(observed("step-evidence", "link_all_reduce_s", LINK.all_reduce_s(size), case, bytes=str(size)),
                record_id=f"{case.label}-{size}")
        for size in (4096, 2**20, 2**26)
    ]  # fmt: skip
    return [*times, observed("step-evidence", "gradient_bytes_per_step", 50e6, case, method="counted")]


def test_ranks_stand_in_their_order_with_the_reason_of_an_unknown_speed() -> None:
    """Host, machine, device and link of each rank; a link whose driver reports no speed says so."""
    shown = tables(alone(1.0), over_nodes(WEAK, 1.2), ratio(ONE, WEAK, 2.5))
    (table,) = (table for table in shown if (table.caption or "").startswith("Ranks"))
    rows = [[text(cell) for cell in row] for row in table.rows]
    assert [row[1] for row in rows] == ["alpha", "beta", "gamma"]
    assert rows[0][2:] == ["xeon-1", "cpu:0", "eth0", "10.0 Gbit/s"]
    assert rows[1][5] == "the driver of eth0 reports no speed"


def test_weak_scaling_is_held_against_what_the_measured_link_predicts() -> None:
    """Inside the predicted range, and 50 % above it; strong scaling, whose share was not measured, says so."""
    found = predicted_step(1.0, 50e6, LINK)
    for step_s, said in (((found.least_step_s + found.most_step_s) / 2, "as predicted"),
                         (1.5 * found.most_step_s, "50 % outside")):  # fmt: skip
        shown = tables(
            *(alone(1.0), over_nodes(WEAK, step_s), over_nodes(STRONG, 0.9)),
            *(ratio(ONE, WEAK, 2.5), ratio(ONE, STRONG, 1.1), *link_of(WEAK), *link_of(STRONG)),
        )
        (table,) = (table for table in shown if "predicts" in (table.caption or ""))
        weak, strong = ([text(cell) for cell in row] for row in table.rows)
        assert "weak scaling, 3 ranks" in weak[0] and "64.0 MiB" in weak[1]
        assert said in weak[3] and "1.00 s to 1.50 s" in weak[3]
        assert "strong scaling" in strong[0] and "not measured by itself" in strong[3]


def test_a_job_on_one_machine_shows_no_link() -> None:
    """Several devices of one machine have no ranks on other nodes."""
    mirrored = Case(workload="mlp-wide", batch_size=24, placement="mirrored", device_count=3)
    plain = Case(workload="mlp-wide", batch_size=8, placement="gpu")
    shown = tables(measured(plain, 1.0), measured(mirrored, 2.0), ratio(plain, mirrored, 2.0))
    assert shown and not any("anks" in (table.caption or "") for table in shown)
