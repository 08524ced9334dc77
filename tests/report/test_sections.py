"""Sections as plain functions: what they take from records and what they leave out."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from rtxbench.hardware.differences import differences
from rtxbench.hardware.trace import load_trace
from rtxbench.records import Case, CaseRecord, Environment, Estimate, Observation, RatioRecord, Verdict
from rtxbench.report.drawing.canvas import short_number
from rtxbench.report.drawing.style import PRECISION_COLORS, theme
from rtxbench.report.labels import code_spans, command_line, estimate_text, ratio_text
from rtxbench.report.parts import Context, Figure, Interval, IntervalGroup, Intervals, Paragraph, Table, VerdictCards
from rtxbench.report.render.axis import interval_axis
from rtxbench.report.sections.appendix.inventory import machines_section, unmeasured_section
from rtxbench.report.sections.appendix.throughput import throughput_section
from rtxbench.report.sections.appendix.timeline import timeline_section
from rtxbench.report.sections.evidence.ratios import ratios_section
from rtxbench.report.sections.evidence.side_by_side import side_by_side_section
from rtxbench.report.sections.evidence.verdicts import verdicts_section
from rtxbench.report.titles import device_title, machine_title, machine_titles
from rtxbench.results.store import LoadedRun
from tests.synthetic import BIG_GPU, CPU_ONLY, records_of, run_header, write_results
from tests.synthetic_report import context_of


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return context_of(write_results(tmp_path_factory.mktemp("results"), (BIG_GPU, CPU_ONLY)))


def with_records(context: Context, run: LoadedRun) -> Context:
    """The context of one changed run."""
    runs = (run,)
    return replace(context, runs=runs)


def svg_of(figure: Figure) -> str:
    """A figure drawn as SVG text."""
    drawn = io.StringIO()
    with theme():
        figure.build().savefig(drawn, format="svg")
    return drawn.getvalue()


def test_a_functional_check_is_listed_but_never_drawn(context: Context) -> None:
    """Logical devices prove that code runs and nothing of speed: no bar, and the table says so."""
    run = context.runs[1]
    record = next(r for r in run.of_kind(CaseRecord) if r.measurement)
    logical = structs.replace(record, case=structs.replace(record.case, placement="mirrored-logical", workload="toy"))
    section = throughput_section(with_records(context, run._replace(records=(record, logical))))
    assert section is not None
    assert all("toy" not in figure.alt for figure in section.figures)
    table = next(block for block in section.blocks if isinstance(block, Table))
    assert "functional check" in str(table.rows[1][-1])


def test_a_logical_ratio_is_no_dot_in_the_forest(context: Context) -> None:
    """A ratio of logical devices is listed with its caution and left out of the figure."""
    run = context.runs[0]
    record = run.of_kind(RatioRecord)[0]
    logical = structs.replace(record, candidate=structs.replace(record.candidate, placement="mirrored-logical"))
    section = ratios_section(with_records(context, run._replace(records=(logical,))))
    assert section is not None
    assert section.figures == ()


def test_machines_side_by_side_only_where_two_ran_the_same_workload(context: Context) -> None:
    """The comparison of machines needs two, at one precision; several GPUs stand in rows of their own."""
    section = side_by_side_section(replace(context, here=CPU_ONLY.machine))
    assert section is not None
    charts = [block for block in section.blocks if isinstance(block, Intervals)]
    groups = {group.title: [row.label for row in group.rows] for chart in charts for group in chart.groups}
    several, single = (
        [label for title in groups if f", {kind} device" in title for label in groups[title]]
        for kind in ("several", "one")
    )
    assert any("2× RTX 4090" in label for label in several)
    assert single
    assert all("2×" not in label for label in single)
    for chart in charts:
        for group in chart.groups:
            values = [row.value for row in group.rows]
            assert values == sorted(values, reverse=True)
    assert side_by_side_section(with_records(context, context.runs[0])) is None


def many(count: int) -> list[Environment]:
    """That many CPU machines of three models, which differ in cores, memory and fingerprint."""
    return [
        structs.replace(
            CPU_ONLY,
            machine=f"cpu-{number:03d}",
            cpu=structs.replace(
                CPU_ONLY.cpu,
                name=f"Intel Xeon {number % 3}",
                logical_cores=2 + number % 5,
                memory_bytes=2**30 * (8 + number),
            ),
        )
        for number in range(count)
    ]


def crowd(environments: Sequence[Environment], speeds: Sequence[float]) -> Context:
    """Machines that all ran one workload at one precision, each at its speed."""
    records = records_of(run_header(CPU_ONLY, "template"), ("mlp",))
    first = next(r for r in records if isinstance(r, CaseRecord) and r.measurement and r.case.precision == "float32")
    assert first.measurement is not None
    runs = []
    for environment, speed in zip(environments, speeds, strict=True):
        run = run_header(environment, f"20260314T090000-{environment.machine}")
        faster = structs.replace(first.measurement.throughput_per_s, value=speed)
        record = structs.replace(
            first, run_id=run.run_id, measurement=structs.replace(first.measurement, throughput_per_s=faster)
        )
        runs.append(LoadedRun(path=Path("x"), run=run, records=(record,), truncated=False))
    return Context(
        runs=tuple(runs), verdicts=(), claims={}, here=environments[len(environments) // 2].machine,
    )  # fmt: skip


def test_a_hundred_machines_are_a_bounded_block() -> None:
    """The chart shows the ends and the reader's machine between its neighbours, sorted; the folded table shows all."""
    context = crowd(many(100), [1000.0 + number for number in range(100)])
    section = side_by_side_section(context)
    assert section is not None
    (chart,) = [block for block in section.blocks if isinstance(block, Intervals)]
    (group,) = chart.groups
    assert "11 of 100" in group.title
    assert len(group.rows) == 11
    assert sum("this machine" in row.caution for row in group.rows) == 1
    assert [row.value for row in group.rows] == sorted((row.value for row in group.rows), reverse=True)
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    assert table.folded
    assert len({row[0] for row in table.rows}) == len(table.rows) == 100
    tables = [block for block in machines_section(context).blocks if isinstance(block, Table)]
    assert max(len(block.columns) for block in tables) <= 6
    verdicts = tuple(
        Verdict(claim="c", machine=machine, subject="", state="supported", reason="clear", explanation="Yes.")
        for machine in context.machines
    )
    judged = verdicts_section(replace(context, verdicts=verdicts))
    assert judged is not None
    (overview,) = [block for block in judged.blocks if isinstance(block, Table)]
    assert (len(overview.columns), overview.rows[0][-1]) == (7, "100 yes")


def test_machines_of_nearly_one_name_are_told_apart_by_what_differs() -> None:
    """Two virtual machines of one processor: the matrix unit; twins: the fingerprint; others keep their name."""
    plain, unit = (
        structs.replace(CPU_ONLY, machine=f"m-{name[-3:]}", cpu=structs.replace(CPU_ONLY.cpu, name=name, features=has))
        for name, has in (
            ("Intel(R) Xeon(R) Processor @ 2.50GHz", ("avx512f",)),
            ("Intel(R) Xeon(R) Processor", ("avx512f", "amx_bf16")),
        )
    )
    titles = machine_titles({"a": plain, "b": unit, "c": BIG_GPU})
    assert titles["a"].endswith("(CPU only): no bfloat16 unit")
    assert titles["b"].endswith("(CPU only): AMX matrix unit")
    assert titles["c"] == machine_title(BIG_GPU)
    twins = machine_titles({"a": plain, "b": structs.replace(plain, machine="m-77aa")})
    assert twins["b"].endswith(": 77aa")
    assert twins["a"] != twins["b"]


def test_the_machine_compared_with_is_one() -> None:
    """An axis with one wide interval still holds every point, and 1× lies between its ends."""
    rows = (Interval(label="a", value=0.5, low=0.001, high=300.0), Interval(label="b", value=1.2, low=1.1, high=1.3))
    axis = interval_axis(Intervals(caption="", groups=(IntervalGroup("g", rows),)))
    wild, tame = axis.strips
    assert wild is not None
    assert tame is not None
    assert (wild.low, wild.high) == (0.0, 100.0)
    assert tame.high - tame.low > 5
    assert 0 < tame.one < tame.value < 100
    assert 1 < len(axis.ticks) <= 6


def test_environments_that_differ_say_what_matters() -> None:
    """What is known to change speed comes first with its reason; equal environments have nothing to say."""
    other = structs.replace(CPU_ONLY, packages={**CPU_ONLY.packages, "tensorflow": "9.9", "zzz": "1"})
    found = differences(CPU_ONLY, other)
    assert [row.name for row in found] == ["tensorflow", "zzz"]
    assert found[0].why
    assert not found[1].why
    assert differences(CPU_ONLY, CPU_ONLY) == ()


def test_forest_rows_carry_the_claims_threshold(context: Context) -> None:
    """The dashed mark stands where the claim that rests on the pair wants it."""
    section = ratios_section(context)
    assert section is not None
    tables = [block for block in section.blocks if isinstance(block, Table)]
    needed = {row[2] for table in tables for row in table.rows}
    assert needed == {"", "1.10×"}


def test_every_claim_and_machine_has_one_card_and_a_link_to_it(context: Context) -> None:
    """No verdict is dropped; those of which the same is to be said share a card; the overview leads to those tested."""
    section = verdicts_section(context)
    assert section is not None
    cards = [card for block in section.blocks if isinstance(block, VerdictCards) for card in block.cards]
    covered = [key for card in cards for key in card.covers]
    assert sorted(covered) == sorted((v.claim, v.machine) for v in context.verdicts if not v.subject)
    ids = {card.id for card in cards}
    assert len(ids) == len(cards)
    linked = {
        cell.target
        for block in section.blocks
        if isinstance(block, Table)
        for row in block.rows
        for cell in row
        if not isinstance(cell, str) and cell.target
    }
    tested = {card.verdict.claim for card in cards if card.verdict.state not in ("not-testable", "not-measured")}
    assert linked == {card.id for card in cards if card.verdict.claim in tested} < ids


def test_nothing_judged_means_no_verdicts_section(context: Context) -> None:
    """A section with nothing to say is left out."""
    assert verdicts_section(replace(context, verdicts=())) is None


def test_unmeasured_cases_come_with_their_reasons(context: Context) -> None:
    """Every skipped and failed case is in the table, with its reason."""
    section = unmeasured_section(context)
    assert section is not None
    text = str(section.blocks)
    assert "out of device memory" in text
    assert "needs two GPUs" in text


def test_the_timeline_draws_every_recorded_quantity(context: Context) -> None:
    """One track per quantity the trace has, named with its unit; GPUs apart."""
    section = timeline_section(context)
    assert section is not None
    svg = svg_of(section.figures[0])
    for words in ("GPU busy", "GPU power", "SM clock", "CPU busy", "Timed blocks", "GPU 1", "ResNet-50"):
        assert words in svg
    assert "of one core" in section.figures[0].caption
    cpu_only = section.figures[1]
    assert "GPU" not in svg_of(cpu_only)
    assert any(isinstance(block, Paragraph) and "No GPU was recorded" in block.text for block in section.blocks)


def test_a_run_of_checks_alone_hides_no_results_recording(context: Context) -> None:
    """A later run that held rtxbench against itself, with what explains it, has no timed blocks to draw."""
    earlier = context.runs[1]
    record = next(r for r in earlier.of_kind(CaseRecord) if r.measurement)
    checks = (structs.replace(record, group="a-a", purpose="harness"), *earlier.of_kind(Observation)[:1])
    later = earlier._replace(run=structs.replace(earlier.run, run_id="20991231T000000-checks"), records=checks)
    section = timeline_section(replace(context, runs=(*context.runs, later)))
    assert section is not None
    assert not [figure for figure in section.figures if "checks" in figure.alt]


def test_a_run_without_trace_has_no_timeline(tmp_path: Path) -> None:
    """No recording, no section."""
    assert timeline_section(context_of(write_results(tmp_path, (CPU_ONLY,), traces=False))) is None


def test_synthetic_traces_are_what_the_recorder_writes(context: Context) -> None:
    """The fixture's traces pass the strict loader."""
    trace = load_trace(context.runs[0].path.with_suffix(".trace.jsonl"))
    assert trace.end is not None
    assert not trace.truncated


def test_a_case_is_named_by_the_devices_it_used() -> None:
    """One card of two is one card, and a CPU case on a GPU machine is the CPU's."""
    assert device_title(BIG_GPU, "gpu", 1) == "RTX 4090"
    assert device_title(BIG_GPU, "mirrored", 2) == "2× RTX 4090"
    assert device_title(BIG_GPU, "cpu", 1) == "AMD EPYC 9354"


def test_small_texts() -> None:
    """Numbers, ratios, code and commands as a reader expects them."""
    assert [short_number(v, padded=True) for v in (0.8991, 9.5, 409, 1140, 9500, 2.5e9)] == [
        "0.899", "9.50", "409", "1.14 k", "9.50 k", "2.50 G",
    ]  # fmt: skip
    assert ratio_text(1.8312, 1.81, 1.852) == "1.83× [1.81, 1.85]"
    assert ratio_text(1.0, 0.997, 1.003) == "1.000× [0.997, 1.003]"
    assert ratio_text(12.34, None, None) == "12.3×"
    assert code_spans("run `a` or `b") == [(False, "run `a` or `b")]
    assert code_spans("run `a`") == [(False, "run "), (True, "a")]
    header = run_header(CPU_ONLY, "x")
    assert command_line(structs.replace(header, command=("/opt/bin/rtxbench", "run", "a b"))) == "rtxbench run 'a b'"
    assert (
        command_line(structs.replace(header, command=("/lib/pytest/__main__.py", "bench"))) == "python -m pytest bench"
    )


def test_estimates_are_written_as_far_as_they_are_known(context: Context) -> None:
    """A single launch has a value and no interval; no estimate is no text."""
    verdict = next(v for v in context.verdicts if v.estimate)
    single = Estimate(value=1.5, low=None, high=None, n=1)
    assert estimate_text(structs.replace(verdict, estimate=single, threshold_ratio=None)) == "1.50×"
    assert estimate_text(structs.replace(verdict, estimate=None)) == ""


def test_every_precision_has_a_colour_of_its_own() -> None:
    """A reader tells precisions apart in any figure."""
    assert len(set(PRECISION_COLORS.values())) == len(PRECISION_COLORS)
    assert Case(workload="mlp", batch_size=1).precision in PRECISION_COLORS


def test_a_machine_bound_to_some_cores_is_told_from_the_whole() -> None:
    """Two columns of one report never bear the same name because only the cores differ."""
    for machine in (CPU_ONLY, BIG_GPU):
        whole = run_header(machine, "r").environment
        bound = structs.replace(whole, cpu=structs.replace(whole.cpu, usable_cores=1))
        assert machine_title(bound) != machine_title(whole)
        assert f"1 of {whole.cpu.logical_cores} cores" in machine_title(bound)
