"""A page stays readable whatever the number of records."""

from dataclasses import replace
from pathlib import Path

import msgspec

from rtxbench.report.parts import Column, Interval, IntervalGroup, Intervals, Section, Table, VerdictCards
from rtxbench.report.render.bounds import MOST_INTERVALS, MOST_ROWS, bounded
from rtxbench.report.render.output import build_context, load_runs
from rtxbench.report.sections.evidence.ratios import ratios_section
from rtxbench.report.sections.evidence.verdicts import verdicts_section
from rtxbench.report.sections.evidence.why import why_section
from rtxbench.verdicts.claims import load_claims
from tests.synthetic import write_results


def test_a_long_table_says_how_many_rows_are_not_shown() -> None:
    """Rows beyond the limit are left out of the page, and the caption counts all."""
    table = Table(caption="Cases", columns=(Column("n"),), rows=tuple((str(n),) for n in range(10_000)))
    (short,) = bounded(Section(id="s", title="S", blocks=(table,))).blocks
    assert isinstance(short, Table)
    assert len(short.rows) == MOST_ROWS
    assert "10,000 rows" in short.caption


def test_a_long_chart_keeps_the_highest_and_the_lowest() -> None:
    """A chart is sorted by ratio: its two ends stay."""
    rows = tuple(Interval(label=str(n), value=2000.0 - n, low=None, high=None) for n in range(1_000))
    (chart,) = bounded(
        Section(id="s", title="S", blocks=(Intervals(caption="", groups=(IntervalGroup("All", rows),)),))
    ).blocks
    assert isinstance(chart, Intervals)
    kept = chart.groups[0].rows
    assert (kept[0], kept[-1], len(kept)) == (rows[0], rows[-1], MOST_INTERVALS)
    assert "1,000" in chart.groups[0].title


def test_a_verdict_on_many_records_names_some_and_counts_the_rest(tmp_path: Path) -> None:
    """Record ids beyond the limit are counted; the verdict's file keeps all of them."""
    context = build_context(load_runs([write_results(tmp_path)]).runs, load_claims())
    section = verdicts_section(context)
    assert section is not None
    card = next(block for block in section.blocks if isinstance(block, VerdictCards)).cards[0]
    verdict = msgspec.structs.replace(card.verdict, evidence=tuple(f"r{n}" for n in range(5_000)))
    (block,) = bounded(replace(section, blocks=(VerdictCards((replace(card, verdict=verdict),)),))).blocks
    assert isinstance(block, VerdictCards)
    shown = block.cards[0].verdict.evidence
    assert shown[:2] == ("r0", "r1")
    assert len(shown) < 100
    assert "in verdicts.json" in shown[-1]


def test_three_machines_are_told_side_by_side_and_one_in_full(tmp_path: Path) -> None:
    """Only the reader's machine is charted; one table says on how many machines each comparison held."""
    context = build_context(load_runs([write_results(tmp_path)]).runs, load_claims())
    assert context.in_full == (context.focus,)
    section = ratios_section(context)
    assert section is not None
    assert sum(isinstance(block, Intervals) for block in section.blocks) == 1
    table = [block for block in section.blocks if isinstance(block, Table)][-1]
    assert "on 3 machines" in table.caption
    counts = [row[1] for row in table.rows]
    assert all(isinstance(count, str) and " of " in count for count in counts)


def test_causes_are_counted_over_all_machines() -> None:
    """Of the committed results, which are of several machines, the last table of the causes counts machines."""
    section = why_section(build_context(load_runs([Path(__file__).parents[2] / "results"]).runs, load_claims()))
    assert section is not None
    table = [block for block in section.blocks if isinstance(block, Table)][-1]
    assert [column.title for column in table.columns] == ["Limited by", "Machines", "Cases"]
    assert all(1 <= int(str(row[1])) <= int(str(row[2])) for row in table.rows)
