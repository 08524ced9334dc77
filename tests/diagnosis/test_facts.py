"""From stored records to evidence, causes beside verdicts, and the report's section."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from matplotlib.text import Text

from rtxbench.diagnosis.facts import Diagnoser, case_evidence, recording_diagnosis
from rtxbench.records import CaseRecord, HardwareSummary, Observation, RatioRecord, Summary, Verdict
from rtxbench.report.drawing.roofline import RooflinePoint, draw_roofline
from rtxbench.report.drawing.style import theme
from rtxbench.report.parts import Paragraph, Table
from rtxbench.report.sections.evidence.why import why_section
from rtxbench.results.store import LoadedRun, load_results
from rtxbench.verdicts.causes import with_causes
from tests.synthetic import BIG_GPU, write_results
from tests.synthetic_report import context_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("results"), (BIG_GPU,), traces=False)


@pytest.fixture
def loaded(folder):
    (run,) = load_results([folder])
    return run


def of_case(run: LoadedRun, label: str) -> CaseRecord:
    return next(r for r in run.of_kind(CaseRecord) if r.case.label == label and r.measurement is not None)


def figure(metric, values, case=None, topic="step-evidence", **labels):
    return Observation(
        record_id=f"evidence-{metric}-{labels.get('precision', '')}-{case.label if case else ''}",
        run_id="r",
        topic=topic,
        metric=metric,
        values=values,
        replicate="repeat",
        finished_at="2026-01-01T00:00:00+00:00",
        case=case,
        labels=labels,
    )


def ceiling(metric, values, **labels):
    return figure(metric, values, topic="ceiling", engine="tensorflow", kind="gpu", **labels)


CEILINGS = [
    ceiling("gemm_flop_per_s", (70e12, 75e12), precision="float32"),
    ceiling("gemm_flop_per_s", (140e12, 144e12), precision="mixed_float16"),
    ceiling("memory_bandwidth_bytes_per_s", (8e11, 9e11), operation="negate"),
    ceiling("kernel_launch_s", (5e-6, 4e-6)),
    ceiling("step_call_s", (2e-4, 1e-4)),
]


def test_ceilings_are_the_best_repeat_of_the_same_engine_and_device(loaded):
    """Highest rate, shortest time; a CPU's and another engine's ceilings are passed over."""
    record = of_case(loaded, "resnet50/mixed_float16/gpu/b64")
    others = [
        figure("gemm_flop_per_s", (1e9,), topic="ceiling", engine="tensorflow", kind="cpu", precision="float32"),
        figure("gemm_flop_per_s", (9e15,), topic="ceiling", engine="jax", kind="gpu", precision="float32"),
    ]
    evidence = case_evidence(record, [*CEILINGS, *others])
    assert evidence.gemm_flop_per_s == {"float32": 75e12, "mixed_float16": 144e12}
    assert evidence.memory_bytes_per_s == 9e11
    assert evidence.kernel_launch_s == 4e-6
    assert evidence.step_time_s == record.measurement.step_time_s.value


def test_step_evidence_is_of_the_same_case_only(loaded):
    """Traffic counted for another batch size or precision is not this case's."""
    record = of_case(loaded, "resnet50/mixed_float16/gpu/b64")
    other = of_case(loaded, "resnet50/float32/gpu/b64")
    mine = figure("traffic_bytes_per_step", (3e9,), record.case)
    theirs = figure("traffic_bytes_per_step", (6e9,), other.case)
    assert case_evidence(record, [mine, theirs]).traffic_bytes_per_step == 3e9
    assert case_evidence(record, [theirs]).traffic_bytes_per_step is None


def test_a_figure_without_values_is_unknown(loaded):
    """Evidence that could not be had is None, not zero."""
    record = of_case(loaded, "resnet50/mixed_float16/gpu/b64")
    assert case_evidence(record, [figure("kernels_per_step", (), record.case)]).kernels_per_step is None


def with_evidence(run: LoadedRun, case: CaseRecord, **figures: float) -> LoadedRun:
    added = [figure(metric, (value,), case.case) for metric, value in figures.items()]
    return run._replace(records=(*run.records, *CEILINGS, *added))


def test_verdicts_get_their_cause_and_next_step(loaded):
    """A refuted comparison says why and what to try; a claim without figures stays as it is."""
    ratio = next(r for r in loaded.of_kind(RatioRecord) if r.candidate.label == "mlp/mixed_float16/gpu/b512")
    candidate = of_case(loaded, "mlp/mixed_float16/gpu/b512")
    step_s = candidate.measurement.step_time_s.value
    run = with_evidence(loaded, candidate, kernels_per_step=step_s / 4e-6)
    base = Verdict(claim="c", machine="m", subject="s", state="refuted", reason="r", explanation="e")
    refuted = msgspec.structs.replace(base, evidence=(ratio.record_id,), estimate=ratio.ratio)
    unmeasured = msgspec.structs.replace(base, state="not-measured")
    explained = with_causes([run], [refuted, unmeasured])
    assert "launching kernels costs more" in explained[0].cause
    assert "batch size" in explained[0].next_step
    assert explained[1] == unmeasured


def test_a_cause_already_given_is_kept(loaded):
    """Who judged may know better."""
    verdict = Verdict(
        claim="c", machine="m", subject="s", state="refuted", reason="r", explanation="e", cause="mine", evidence=("x",)
    )
    assert with_causes([loaded], [verdict]) == [verdict]


def test_the_section_tells_causes_roofline_and_ceilings(folder, loaded):
    """Rows for what is known, a figure whose alt text carries the points, the ceilings in a table."""
    case = of_case(loaded, "resnet50/mixed_float16/gpu/b64")
    run = with_evidence(loaded, case, traffic_bytes_per_step=2e10, kernels_per_step=800)
    context = context_of(folder)
    section = why_section(replace(context, runs=(run,)))
    text = str(section.blocks)
    assert "ResNet-50, float16, batch 64" in text
    assert "Memory bandwidth" in text
    (drawing,) = section.figures
    assert "FLOP/B" in drawing.alt
    with theme():
        assert "FLOP/s of one device" in {text.get_text() for text in drawing.build().findobj(Text)}


def test_cases_with_the_same_cause_and_evidence_share_a_row(folder, loaded):
    """Two cases of which the same is known are one row that names both; those of which nothing is known, a sentence."""
    chosen = of_case(loaded, "resnet50/mixed_float16/gpu/b64")
    twin = msgspec.structs.replace(chosen, record_id="twin", case=msgspec.structs.replace(chosen.case, variant="twin"))
    unknown = msgspec.structs.replace(
        chosen,
        record_id="unknown",
        case=msgspec.structs.replace(chosen.case, placement="cpu"),  # the ceilings are the GPU's
        measurement=msgspec.structs.replace(chosen.measurement, flops_per_step=None),
        hardware=None,
    )
    others = tuple(r for r in loaded.records if isinstance(r, Observation))
    run = loaded._replace(records=(chosen, twin, unknown, *others))
    run = with_evidence(run, chosen, kernels_per_step=800)
    run = with_evidence(run, twin, kernels_per_step=800)
    context = context_of(folder)
    section = why_section(replace(context, runs=(run,)))
    table = next(block for block in section.blocks if isinstance(block, Table) and "What limits" in block.caption)
    assert [row[2].text for row in table.rows] == ["2 cases"]
    assert "twin" in table.rows[0][2].note
    assert "2 measured cases" in table.caption
    (muted,) = [b.text for b in section.blocks if isinstance(b, Paragraph) and b.text.startswith("For ")]
    assert muted.startswith("For 1 case nothing was gathered")


def test_a_run_without_evidence_has_no_section(folder):
    """Neither observations nor power of one case alone: no section, not a table of shrugs."""
    context = context_of(folder)
    bare = tuple(run._replace(records=tuple(without_evidence(run.records))) for run in context.runs)
    assert why_section(replace(context, runs=bare)) is None


def without_evidence(records):
    for record in records:
        if isinstance(record, CaseRecord) and record.measurement is not None:
            yield msgspec.structs.replace(
                record, measurement=msgspec.structs.replace(record.measurement, sustained=None)
            )
        elif not isinstance(record, Observation):
            yield record


def test_hostile_names_reach_no_path(tmp_path: Path):
    """Labels are text in a drawing and nothing else."""
    points = [RooflinePoint("../../<script>$x$", "float32", 10.0, 1e12)]
    with theme():
        draw_roofline(points, {"float32": 2e12}, 1e11).savefig(tmp_path / "x.svg")
    assert "<script>" not in (tmp_path / "x.svg").read_text()


def summary(value: float) -> Summary:
    return Summary(mean=value, p50=value, p95=value, minimum=value, maximum=value, n=10)


def test_a_recording_alone_names_idleness_and_heat():
    """What sensors can tell of any program: waiting for the host, throttled; a busy cool card is no finding."""

    def found(**metrics: float) -> str | None:
        devices = {"GPU-1": {name: summary(value) for name, value in metrics.items()}, "host": {}}
        diagnosis = recording_diagnosis(HardwareSummary(devices=devices))
        return diagnosis.code if diagnosis else None

    assert found(gpu_utilization_ratio=0.5) == "host-bound"
    assert found(gpu_utilization_ratio=0.99, sw_thermal_slowdown_ratio=0.2) == "throttled"
    assert found(gpu_utilization_ratio=0.99, memory_controller_utilization_ratio=0.9) == "memory-bandwidth-bound"
    assert found(gpu_utilization_ratio=0.99, memory_controller_utilization_ratio=0.1) is None
    assert recording_diagnosis(HardwareSummary()) is None


def test_evidence_of_the_own_run_is_preferred(loaded):
    """Two runs of a machine measured different ceilings: each record is held against its own run's."""
    record = of_case(loaded, "resnet50/mixed_float16/gpu/b64")
    own = [msgspec.structs.replace(o, run_id=loaded.run.run_id) for o in CEILINGS]
    faster = ceiling("memory_bandwidth_bytes_per_s", (5e12,))
    run = loaded._replace(records=(*loaded.records, *own, faster))
    assert Diagnoser([run]).evidence(record).memory_bytes_per_s == 9e11


@pytest.mark.parametrize(
    ("cores", "most", "busiest", "waiting", "code"),
    [
        (1.0, 1.0, 1.0, 0.0, "single-threaded"),
        (1.0, 1.1, 0.5, 0.0, "single-threaded"),
        (1.0, 2.0, 0.5, 0.0, None),
        (0.0, 0.1, 0.1, 0.0, "idle"),
        (4.0, 4.0, 1.0, 0.0, None),
        (1.0, 1.0, 1.0, 0.6, None),
    ],
    ids=["one core busy", "a thread that wanders", "now one core, now two", "nothing", "four cores", "a full machine"],
)
def test_without_a_gpu_the_host_says_what_held_a_program_back(
    cores: float, most: float, busiest: float, waiting: float, code: str | None
) -> None:
    """One core's worth of work is single-threaded, unless others took the rest; no work at all is idle."""

    def flat(value: float) -> Summary:
        return Summary(mean=value, p50=value, p95=value, minimum=value, maximum=value, n=9)

    used = msgspec.structs.replace(flat(cores), p95=most)
    host = {
        "watched_cpu_cores": used,
        "busiest_core_utilization_ratio": flat(busiest),
        "psi_cpu_some_ratio": flat(waiting),
    }
    found = recording_diagnosis(HardwareSummary(devices={"host": host}))
    assert (found and found.code) == code
