"""What the report says of engines, of several devices and of fused normalisation, from records alone."""

import math
from pathlib import Path

from msgspec.structs import replace

from rtxbench.records import Case, CaseRecord, Estimate, Launch, Measurement, Observation, RatioRecord
from rtxbench.report.parts import Cell, Context, Table
from rtxbench.report.sections.appendix.engines import engines_section
from rtxbench.results.store import LoadedRun
from tests.synthetic import CPU_ONLY, run_header

RUN = run_header(CPU_ONLY, "20260314T090000-test")
PLAIN = Case(workload="resnet50-64px", batch_size=8)


def measured(case: Case, per_s: float, notes: dict[str, str] | None = None) -> CaseRecord:
    launch = Launch(
        steps_per_block=1, blocks_ns=((0, 10**9),), warmup_ok=True, warmup_s=1.0, build_s=1.0, first_step_s=2.5
    )
    estimate = Estimate(value=per_s, low=per_s * 0.99, high=per_s * 1.01, n=5)
    measurement = Measurement(
        launches=(launch,), step_time_s=estimate, throughput_per_s=estimate, warmup_ok=True, notes=notes or {}
    )
    return CaseRecord(
        record_id=case.label,
        run_id=RUN.run_id,
        group="g",
        case=case,
        status="measured",
        finished_at="2026-03-14T09:00:00+00:00",
        measurement=measurement,
    )


def ratio(baseline: Case, candidate: Case, value: float) -> RatioRecord:
    return RatioRecord(
        record_id=f"{candidate.label}÷{baseline.label}",
        run_id=RUN.run_id,
        group="g",
        baseline=baseline,
        candidate=candidate,
        baseline_record=baseline.label,
        candidate_record=candidate.label,
        metric="throughput",
        replicate="launch",
        log_ratios=(0.0,) * 5,
        ratio=Estimate(value=value, low=value * 0.98, high=value * 1.02, n=5),
        smallest_effect_ratio=0.01,
        warmup_ok=True,
        finished_at="2026-03-14T09:00:00+00:00",
    )


def observed(topic: str, metric: str, value: float, case: Case | None, **labels: str) -> Observation:
    return Observation(
        record_id=f"{metric}-{case.label if case else ''}",
        run_id=RUN.run_id,
        topic=topic,
        metric=metric,
        values=(value,),
        replicate="repeat",
        finished_at="2026-03-14T09:00:00+00:00",
        case=case,
        labels=labels,
    )


def tables(*records: CaseRecord | RatioRecord | Observation) -> list[Table]:
    runs = (LoadedRun(RUN, records, Path("run.jsonl"), truncated=False),)
    context = Context(
        runs=runs,
        verdicts=(),
        claims={},
    )
    section = engines_section(context)
    return [] if section is None else [block for block in section.blocks if isinstance(block, Table)]


def text(cell: Cell | str) -> str:
    return cell if isinstance(cell, str) else " ".join(filter(None, (cell.text, cell.note)))


def test_precisions_of_one_engine_make_no_section() -> None:
    """One engine on one device has nothing to compare here."""
    mixed = Case(workload="mlp", batch_size=8, precision="mixed_bfloat16")
    plain = Case(workload="mlp", batch_size=8)
    assert tables(measured(plain, 1.0), measured(mixed, 1.0), ratio(plain, mixed, 1.0)) == []


def test_engines_stand_under_their_baseline_with_interval_and_attention() -> None:
    """The baseline first, then each engine with its compiler, its ratio and the kernel of its attention."""
    jax = Case(workload=PLAIN.workload, batch_size=8, engine="jax", compiler="xla")
    (table,) = tables(measured(PLAIN, 10.0), measured(jax, 20.0, {"attention": "flash"}), ratio(PLAIN, jax, 2.0))
    first, second = ([text(cell) for cell in row] for row in table.rows)
    assert first[1:5] == ["TensorFlow", "plain", "10.0 /s 95 % interval 9.9 to 10.1", "baseline"]
    assert second[1] == "JAX, XLA"
    assert second[4] == "2.00× [1.96, 2.04]"
    assert second[5] == "2.50 s"
    assert (first[7], second[7]) == ("no attention layer", "flash")


def test_each_engine_is_shown_plain_and_in_its_best_form_and_keras_on_pytorch_apart() -> None:
    """The fastest form of an engine is named; best stands against best launch by launch, with its interval."""
    arms = {
        "plain": PLAIN,
        "xla": replace(PLAIN, compiler="xla"),
        "torch": replace(PLAIN, engine="torch", variant="native"),
        "inductor": replace(PLAIN, engine="torch", variant="native", compiler="inductor"),
        "keras": replace(PLAIN, engine="torch"),
    }
    speeds = dict(zip(arms, (10.0, 8.0, 20.0, 24.0, 6.0), strict=True))
    pairs = [
        replace(ratio(PLAIN, case, speeds[name] / 10), group="engines/x", log_ratios=(math.log(speeds[name] / 10),) * 5)
        for name, case in arms.items()
        if name != "plain"
    ]
    table, best = tables(*(measured(case, speeds[name]) for name, case in arms.items()), *pairs)
    assert [(row[1], row[2]) for row in table.rows] == [
        ("TensorFlow", "plain, best"),
        ("TensorFlow, XLA", "compiled"),
        ("PyTorch", "plain"),
        ("PyTorch, torch.compile", "compiled, best"),
        ("Keras on PyTorch", "plain"),
    ]
    assert [[text(cell) for cell in row[1:]] for row in best.rows] == [
        ["PyTorch, torch.compile ÷ TensorFlow", "2.400× [2.400, 2.400]"],
        ["Keras on PyTorch ÷ TensorFlow", "0.600× [0.600, 0.600]"],
    ]


def test_what_keras_costs_on_pytorch_is_a_table_of_its_own() -> None:
    """Native ÷ Keras by precision, and no comparison of engines."""
    keras = replace(PLAIN, engine="torch")
    mixed = replace(keras, precision="mixed_bfloat16")
    (table,) = tables(*(ratio(case, replace(case, variant="native"), 1.5) for case in (keras, mixed)))
    assert [[text(cell) for cell in row] for row in table.rows] == [
        ["ResNet-50 (64 px) on the CPU · batch 8", "float32", "1.50× [1.47, 1.53]"],
        ["ResNet-50 (64 px) on the CPU · batch 8", "bfloat16", "1.50× [1.47, 1.53]"],
    ]


def test_efficiency_is_the_gain_over_the_devices_with_its_interval() -> None:
    """1.6 times on two devices is 80 %; the batch tells weak from strong scaling."""
    one = Case(workload="resnet50", batch_size=64, placement="gpu")
    weak = Case(workload="resnet50", batch_size=128, placement="mirrored", device_count=2)
    strong = Case(workload="resnet50", batch_size=64, placement="mirrored", device_count=2)
    (table,) = tables(ratio(one, weak, 1.8), ratio(one, strong, 1.6))
    rows = [[text(cell) for cell in row] for row in table.rows]
    assert [row[2] for row in rows] == ["weak", "strong"]
    assert rows[1][5] == "80.0 % 78.4 % to 81.6 %"


def test_scaling_names_the_all_reduce_share_and_its_kind() -> None:
    """A profiled share is measured, one from gradients and bandwidth is marked, and a missing one says why."""
    one = Case(workload="resnet50", batch_size=64, placement="gpu")
    seen, computed, unknown = (
        Case(workload="resnet50", batch_size=batch, placement="mirrored", device_count=2) for batch in (64, 128, 256)
    )
    split = Case(workload="resnet50", batch_size=64, placement="model-parallel", device_count=2, engine="jax")
    parallel = (seen, computed, unknown, split)
    evidence = (
        observed("step-evidence", "communication_time_ratio", 0.25, seen),
        observed("step-evidence", "gradient_bytes_per_step", 1e9, computed),
        observed("ceiling", "all_reduce_bytes_per_s", 2e9, None, engine="tensorflow", kind="gpu"),
    )
    arms, pairs = [measured(case, 1.0) for case in (one, *parallel)], [ratio(one, case, 1.6) for case in parallel]
    table = tables(*arms, *pairs, *evidence)[-1]  # the engines side by side come before it
    cells = [row[-1] for row in table.rows]
    assert [(cell.text, cell.origin) for cell in cells if isinstance(cell, Cell)] == [
        ("25 %", "measured"),
        ("50 %", "predicted"),
        ("", "measured"),
        ("none", "measured"),
    ]
    assert "computed: 1.00 GB of gradients" in text(cells[1])
    assert "unknown: the size of the gradients was not recorded" in text(cells[2])


def test_logical_devices_are_never_shown_as_scaling() -> None:
    """Two logical devices of one CPU prove function, not speed."""
    check = Case(workload=PLAIN.workload, batch_size=8, placement="mirrored-logical", device_count=2)
    assert tables(ratio(PLAIN, check, 0.5)) == []


def test_fused_normalisation_is_named_beside_the_plain_form() -> None:
    """The effect of the fused kernel stands with what it is compared to."""
    fused = Case(workload=PLAIN.workload, batch_size=8, variant="fused-norm")
    (table,) = tables(ratio(PLAIN, fused, 1.4))
    assert [text(cell) for cell in table.rows[0]] == [
        "resnet50-64px",
        "float32, fused ÷ float32, as Keras writes it",
        "1.40× [1.37, 1.43]",
    ]


def test_legacy_keras_is_a_rival_and_no_engine() -> None:
    """The bench against legacy Keras shows in the table of fused normalisation, and nowhere as a case or an engine."""
    legacy = Case(workload="legacy_steps:resnet50_64px", batch_size=16, engine="python")
    fused = Case(workload=PLAIN.workload, batch_size=8, variant="fused-norm")
    group, purpose = "fused-norm/resnet50-64px", "rival"
    records = [
        replace(record, group=group, purpose=purpose)
        for record in (ratio(legacy, fused, 1.02), ratio(legacy, PLAIN, 0.91))
    ]
    (table,) = tables(*records, replace(measured(legacy, 80.0), group=group, purpose=purpose))
    assert [[text(cell) for cell in row] for row in table.rows] == [
        ["resnet50-64px", "float32, fused ÷ float32, legacy Keras", "1.02× [1.00, 1.04]"],
        ["resnet50-64px", "float32, as Keras writes it ÷ float32, legacy Keras", "0.91× [0.89, 0.93]"],
    ]
