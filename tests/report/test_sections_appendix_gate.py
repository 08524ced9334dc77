"""The gate's two report sections: what they say and draw, from records alone."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from rtxbench.errors import UsageError
from rtxbench.gate.replay import selftest_rows
from rtxbench.report.drawing.gate import save_rates
from rtxbench.report.drawing.style import theme
from rtxbench.report.parts import Context, Figure, Table
from rtxbench.report.sections.appendix.gate import gate_section
from rtxbench.report.sections.appendix.history import history_section
from rtxbench.results.store import LoadedRun
from tests.gate.test_selftest import records
from tests.gate.test_series import point, run_of


def context(*runs: LoadedRun) -> Context:
    """A context of these runs, without verdicts."""
    claims: Mapping[str, object] = {}
    return Context(
        runs=runs,
        verdicts=(),
        claims=claims,  # type: ignore[arg-type]
    )


def history_run() -> LoadedRun:
    """Thirty commits, 6 % slower from the 20th on."""
    generator = np.random.default_rng(5)
    values = generator.normal(0.0, 0.008, 30) + np.repeat([0.0, 0.0583], [20, 10])
    return run_of("one", *(point(number, float(value)) for number, value in enumerate(values)))


def drawn(figure: Figure) -> set[str]:
    """Every text in the drawing."""
    from matplotlib.text import Text

    with theme():
        return {text.get_text() for text in figure.build().findobj(Text)}


def test_nothing_to_say_is_no_section() -> None:
    """Results without a self-test and without two gates of one series have neither section."""
    empty = context(run_of("one", point(1, 0.0)))
    assert gate_section(empty) is None
    assert history_section(empty) is None


def test_selftest_section_shows_all_three_rates() -> None:
    """Gates run, gates replayed and the stored baseline stand side by side, per planted slow-down."""
    outcomes = ("pass",) * 20
    found = [*records(0.0, 60, outcomes), *records(0.05, 40, ("regression",) * 10, seed=3)]
    section = gate_section(context(run_of("one", *found)))
    assert section is not None
    (figure,) = section.figures
    texts = drawn(figure)
    assert {"gates run", "gates replayed on their launches", "stored baseline, min:5%", "none", "5 %"} <= texts
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert [row[0] for row in table.rows] == ["none", "5 %"]
    assert [row[1] for row in table.rows] == ["20", "10"]


def test_history_section_marks_the_step() -> None:
    """The step's commit and size are in the table and in the figure."""
    section = history_section(context(history_run()))
    assert section is not None
    (figure,) = section.figures
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert len(table.rows) == 1
    size = table.rows[0][1]
    assert isinstance(size, str)
    assert size in drawn(figure)
    assert 0.04 < float(size.split()[0]) / 100 < 0.08


def test_rates_are_saved_as_a_picture(tmp_path: Path) -> None:
    """``--figure`` writes a PNG, an SVG or a PDF by its ending, and refuses another."""
    rows = selftest_rows(records(0.0, 20), replayed=50)
    for name, start in (("rates.svg", b"<?xml"), ("rates.png", b"\x89PNG"), ("rates.pdf", b"%PDF")):
        save_rates(rows, tmp_path / "new" / name)
        assert (tmp_path / "new" / name).read_bytes().startswith(start)
    with pytest.raises(UsageError, match="no picture file"):
        save_rates(rows, tmp_path / "rates.txt")


def test_a_strangers_machine_name_is_no_markup_and_no_other_machines_figure() -> None:
    """A name that holds a tag becomes a harmless anchor, and two names that differ in a dot stay two figures."""
    hostile = 'x"><meta http-equiv=refresh content=0;url=//elsewhere><b y="'
    names = []
    for machine in (hostile, "a.b", "a-b"):
        run = run_of("one", *records(0.0, 12))
        environment = structs.replace(run.run.environment, machine=machine)
        section = gate_section(context(run._replace(run=structs.replace(run.run, environment=environment))))
        assert section is not None
        names += [figure.name for figure in section.figures]
    assert len(set(names)) == 3
    assert all(re.fullmatch("[a-z0-9-]+", name) for name in names)
