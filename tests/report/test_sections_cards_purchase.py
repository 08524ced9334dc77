from functools import partial
from pathlib import Path

import pytest

from rtxbench.report.drawing.style import theme
from rtxbench.report.parts import Figure, Paragraph, Section, Table
from rtxbench.report.render.output import build_context
from rtxbench.report.sections.cards.purchase import purchase_section
from rtxbench.results.store import load_results
from tests.synthetic import write_results


@pytest.fixture(scope="module")
def section(tmp_path_factory: pytest.TempPathFactory) -> Section:
    folder = tmp_path_factory.mktemp("results")
    write_results(folder)
    found = purchase_section(build_context(load_results([folder]), ()))
    assert found is not None
    return found


def test_figures_say_what_they_are(section: Section) -> None:
    """Four figures, each with an origin that is not measured, an alternative text and a caption."""
    assert [figure.name for figure in section.figures] == [
        "purchase-throughput",
        "purchase-value",
        "purchase-break-even",
        "purchase-fit",
    ]
    for figure in section.figures:
        assert figure.origin in ("published", "predicted")
        assert len(figure.alt) > 40
        assert len(figure.caption) > 40
    assert "8 %" in section.figures[1].caption


def test_the_answer_comes_first(section: Section) -> None:
    """A sentence that names a card and its price, then its three alternatives, stand before every figure."""
    first, second = section.blocks[:2]
    assert isinstance(first, Paragraph)
    assert first.text.startswith("With no budget given, for training ResNet-50: RTX")
    assert isinstance(second, Table)
    assert len(second.rows) == 3
    assert not second.folded


@pytest.mark.parametrize("number", range(4))
def test_each_figure_draws(section: Section, number: int, tmp_path: Path) -> None:
    """Each figure is drawn and saved without a warning."""
    figure: Figure = section.figures[number]
    with theme():
        figure.build().savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_own_machines_are_a_table_apart(section: Section) -> None:
    """Machines of the report stand in a table of their own, with why they are not ranked."""
    tables = [block for block in section.blocks if isinstance(block, Table)]
    own = next(table for table in tables if table.caption == "Machines of this report")
    assert any("GeForce RTX 4090" in str(row[0]) for row in own.rows)
    assert any("not the same work" in str(row[3]) for row in own.rows)


def test_every_cell_carries_its_origin(section: Section) -> None:
    """No throughput in the advice tables passes for measured."""
    tables = [block for block in section.blocks if isinstance(block, Table) and block.folded]
    assert len(tables) == 2
    for table in tables:
        assert {getattr(row[1], "origin", "measured") for row in table.rows} <= {"published", "predicted"}


def test_cards_of_one_family_keep_their_own_rows(section: Section) -> None:
    """Names that begin alike are not one name: each of the three RTX PRO 6000 has its own figure in its own row."""
    build = section.figures[0].build
    assert isinstance(build, partial)
    rows, columns = build.args
    assert len(set(rows)) == len(rows)
    family = [place for place, (name, _) in enumerate(rows) if name.startswith("RTX PRO 6000")]
    assert len(family) == 3
    assert len({columns[0].dots[place].value for place in family}) > 1


def test_incomparable_work_is_not_on_the_axis(section: Section) -> None:
    """One's own BERT at 128 tokens has no dot beside published BERT at 384; ResNet-50 has one per machine."""
    build = section.figures[0].build
    assert isinstance(build, partial)
    _rows, columns = build.args
    resnet, bert = (sum(dot.origin == "measured" and dot.value is not None for dot in c.dots) for c in columns)
    assert (resnet, bert) == (3, 0)
