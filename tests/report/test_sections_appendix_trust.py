"""The harness's own records: nowhere among the results, and shown as checks of the instrument."""

import math
from functools import partial
from pathlib import Path

import pytest
from msgspec import structs

from rtxbench.advice.own_machines import owned_machines
from rtxbench.catalog.cards import load_cards
from rtxbench.records import Case, CaseRecord, Observation, RatioRecord, Record
from rtxbench.report.parts import Context, Intervals, Paragraph, Section, Table
from rtxbench.report.render.output import build_context, write_report
from rtxbench.report.sections.appendix.trust import trust_section
from rtxbench.results.frames import observations_frame, ratios_frame
from rtxbench.results.store import LoadedRun
from rtxbench.stats import launch_estimate, ratio_estimate, smallest_effect
from rtxbench.verdicts.claims import load_claims
from rtxbench.verdicts.judge import judge
from tests.synthetic import BIG_GPU, CPU_ONLY, records_of, run_header

PLANTED_RATE = 987_654_321.0
"""Examples a second of the planted arm: nothing else in the report looks like it."""


def pair(run_id: str, group: str, log_ratios: tuple[float, ...], candidate: Case | None = None) -> list[Record]:
    """Both arms and their ratio, made of two records of the synthetic run so that they could pass for results."""
    made = records_of(run_header(CPU_ONLY, run_id), ("mlp",))
    cases = [record for record in made if isinstance(record, CaseRecord) and record.measurement][:2]
    ratio = next(record for record in made if isinstance(record, RatioRecord) and record.metric == "throughput")
    arms: list[Record] = []
    for name, case in zip("ab", cases, strict=True):
        measurement = case.measurement
        assert measurement is not None
        rate = structs.replace(measurement.throughput_per_s, value=PLANTED_RATE, low=PLANTED_RATE, high=PLANTED_RATE)
        arms.append(
            structs.replace(
                case,
                record_id=f"{group}-{name}",
                group=group,
                purpose="harness",
                measurement=structs.replace(measurement, throughput_per_s=rate),
            )
        )
    return [
        *arms,
        structs.replace(
            ratio,
            record_id=f"{group}-{candidate.workload if candidate else ''}-ratio",
            group=group,
            purpose="harness",
            candidate=candidate or ratio.candidate,
            baseline_record=f"{group}-a",
            candidate_record=f"{group}-b",
            log_ratios=log_ratios,
            ratio=ratio_estimate(log_ratios),
            smallest_effect_ratio=smallest_effect(log_ratios),
            finished_at="2027-01-01T00:00:00+00:00",  # later than every result: the latest record decides
        ),
    ]


def around(ratio: float, spread: float = 0.004) -> tuple[float, ...]:
    """Five launches about a ratio."""
    return tuple(math.log(ratio) + spread * step for step in (-1.0, -0.5, 0.0, 0.5, 1.0))


def harness_run(planted: tuple[float, ...]) -> LoadedRun:
    run = run_header(CPU_ONLY, "20270101T000000-7777")
    cost = Observation(
        record_id="cost",
        run_id=run.run_id,
        topic="overhead",
        purpose="harness",
        metric="recorder_core_ratio",
        values=(0.007,),
        replicate="run",
        finished_at="2027-01-01T00:00:00+00:00",
        estimate=launch_estimate((0.007,)),
    )
    records = [
        *pair(run.run_id, "bare-loop/mlp", around(0.99)),
        *pair(run.run_id, "bare-loop/mlp", around(0.80), Case(workload="harness_steps:fit_mlp", batch_size=1))[2:],
        *pair(run.run_id, "a-a", around(1.0)),
        *pair(run.run_id, "planted", planted),
        *pair(run.run_id, "recorder", around(0.999)),
        cost,
    ]
    return LoadedRun(run, tuple(records), Path("harness.jsonl"), truncated=False)


def results_run() -> LoadedRun:
    run = run_header(CPU_ONLY, "20260314T090000-77aa")
    return LoadedRun(run, tuple(records_of(run)), Path("results.jsonl"), truncated=False)


def section_of(*runs: LoadedRun) -> Section:
    section = trust_section(build_context(runs, ()))
    assert section is not None
    return section


def rows_of(section: Section) -> dict[str, tuple[str, ...]]:
    """Check → its cells as text."""
    table = next(block for block in section.blocks if isinstance(block, Table) and "instrument" in block.caption)
    texts = [tuple(cell if isinstance(cell, str) else f"{cell.text} {cell.note}" for cell in row) for row in table.rows]
    return {text[0].split(" a small dense net:")[0]: text[1:] for text in texts}


@pytest.fixture(scope="module")
def both() -> Context:
    return build_context([results_run(), harness_run(around(1 / 1.05))], load_claims())


def test_no_harness_record_reaches_frames_verdicts_or_advice(both: Context) -> None:
    """With the harness's run beside it, everything said of the results is as without it."""
    alone = [results_run()]
    assert both.cases == build_context(alone, ()).cases
    assert ratios_frame(both.runs).equals(ratios_frame(alone))
    assert observations_frame(both.runs).equals(observations_frame(alone))
    assert list(both.verdicts) == judge(alone, load_claims())
    for precision in ("float32", "mixed_bfloat16"):
        asked = partial(owned_machines, "mlp", precision, cards=load_cards())
        assert asked(runs=both.runs) == asked(runs=alone)


def test_records_that_are_no_harness_would_have(both: Context) -> None:
    """The same records meant as results are judged and tabled: the test above can fail."""
    run = harness_run(around(1 / 1.05))
    records: list[Record] = []
    for record in run.records:
        meant = structs.replace(record, purpose="result")
        records.append(meant if isinstance(meant, Observation) else structs.replace(meant, group="tensor-cores/mlp"))
    renamed = run._replace(records=tuple(records))
    context = build_context([results_run(), renamed], load_claims())
    assert len(context.cases) > len(both.cases)
    assert context.verdicts != both.verdicts


def test_the_planted_arm_is_on_no_page_but_as_a_check(both: Context, tmp_path: Path) -> None:
    """The whole report never shows the planted arm's speed; the section shows its ratio beside the true one."""
    report = write_report(both, tmp_path)
    for path in report.files:
        if path.suffix in (".md", ".csv", ".json", ".html"):
            text = path.read_text(encoding="utf-8")
            assert "987" + "654321" not in text.replace(",", "")
            assert "988 M" not in text
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "How far this machine can be trusted" in page
    assert "none of them enters a comparison, a verdict" in page


def test_every_check_stands_beside_its_true_value(both: Context) -> None:
    """Bare loop, fit, A/A, planted and recorder: ratio, interval, what is true, and whether it was seen."""
    section = trust_section(both)
    assert section is not None
    rows = rows_of(section)
    assert [cells[1] for cells in rows.values()] == ["1.000×", "", "1.000×", "0.952×", "1.000×"]
    assert rows["rtxbench against a bare loop"][2].startswith("misses the true value by 1.0 %")
    assert rows["`model.fit` against a bare loop"][2] == "for comparison only"
    assert rows["A case against itself"][2].startswith("holds the true value; the interval is")
    assert rows["A slow-down of 5 % planted, against none"][2].startswith("holds the true value; the interval is")
    assert "95 % interval" in rows["A case against itself"][0]
    cost = next(block for block in section.blocks if isinstance(block, Table) and "own cost" in block.caption)
    assert cost.rows == (("Share of one core", "0.70 %"),)
    chart = next(block for block in section.blocks if isinstance(block, Intervals))
    assert [row.threshold for row in chart.groups[0].rows] == [1.0, None, 1.0, pytest.approx(1 / 1.05), 1.0]


def test_a_planted_slowdown_that_noise_hides_is_said_to_be_hidden() -> None:
    """An interval that holds the true value and 1× too proves nothing."""
    rows = rows_of(section_of(harness_run(around(0.96, spread=0.06))))
    assert rows["A slow-down of 5 % planted, against none"][2] == (
        "holds the true value, but cannot tell it from no difference"
    )


def test_a_failed_check_is_named_with_its_reason() -> None:
    """A harness arm that failed is missing from the checks; the section says so."""
    run = harness_run(around(1 / 1.05))
    failed = structs.replace(
        next(r for r in run.records if isinstance(r, CaseRecord)), status="failed", reason="out of memory"
    )
    section = section_of(run._replace(records=(failed,)))
    texts = [block.text for block in section.blocks if isinstance(block, Paragraph) and block.tone == "caution"]
    assert texts == [f"This check failed: bare-loop/mlp, {failed.case.workload}: out of memory"]


def test_without_checks_there_is_no_section() -> None:
    """Ordinary results alone are no check of the instrument."""
    assert trust_section(build_context([results_run()], ())) is None


def test_a_report_of_the_harness_alone_is_written(tmp_path: Path) -> None:
    """Somebody who only held rtxbench against itself gets a page, without any result on it."""
    run = run_header(BIG_GPU, "20270101T000000-1f0c")
    other = harness_run(around(1 / 1.05))._replace(run=run)
    context = build_context([other], load_claims())
    assert context.cases == ()
    write_report(context, tmp_path)
    assert "trusted" in (tmp_path / "report.html").read_text(encoding="utf-8")
