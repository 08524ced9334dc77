"""Markdown and CSV show hostile text and never obey it."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtxbench.report.parts import Cell, Code, Column, Section, Table, View
from rtxbench.report.render.text import escape_markdown, render_csv, render_markdown


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a | b", "a \\| b"),
        ("[x](javascript:alert(1))", "\\[x\\](javascript:alert(1))"),
        ("**bold** _it_", "\\*\\*bold\\*\\* \\_it\\_"),
        ("# heading", "\\# heading"),
        ("two\nlines", "two lines"),
        ("steps_per_execution", "steps_per_execution"),
        ("run `make`", "run `make`"),
        ("an unpaired ` tick", "an unpaired \\` tick"),
    ],
)
def test_markdown_shows_text_as_it_is(hostile: str, shown: str) -> None:
    """Every active character is escaped, and plain names stay readable."""
    assert escape_markdown(hostile) == shown


@given(st.lists(st.text() | st.text(alphabet="|\\`a \n"), min_size=1, max_size=4))
def test_no_cell_breaks_out_of_its_table(cells: list[str]) -> None:
    """Whatever a cell holds, every row of the table has as many columns as its head, on one line."""
    mono = tuple(Cell(text, note=text, mono=number % 2 == 0) for number, text in enumerate(cells))
    table = Table(caption="", columns=tuple(Column("c") for _ in cells), rows=(mono,))
    text = render_markdown(
        "t", [View(id="v", title="v", sections=(Section(id="s", title="s", blocks=(table,)),))], "figures"
    )
    row = text.strip().split("\n")[-1]
    bars = sum(1 for i, c in enumerate(row) if c == "|" and (len(row[:i]) - len(row[:i].rstrip("\\"))) % 2 == 0)
    assert row.startswith("| ")
    assert bars == len(cells) + 1


def test_a_code_block_cannot_be_closed_from_inside() -> None:
    """The fence is longer than any run of backticks in the text."""
    text = render_markdown(
        "t", [View(id="v", title="v", sections=(Section(id="s", title="s", blocks=(Code("````\n# out"),)),))], "figures"
    )
    assert "`````\n````\n# out\n`````" in text


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", " =", "＝"])
def test_csv_defuses_formulas_in_text(start: str) -> None:
    """A spreadsheet takes no text of ours for a formula."""
    hostile = f"{start}HYPERLINK(1)"
    frame = pd.DataFrame({"text": pd.array([hostile, None], dtype="string")})
    assert f"'{hostile}" in render_csv(frame)


def test_csv_leaves_numbers_and_missing_values_alone() -> None:
    """A negative number is a number, and a missing value is an empty field."""
    frame = pd.DataFrame({"a": pd.array([-1.5, None], dtype="Float64"), "b": pd.array(["x", None], dtype="string")})
    assert render_csv(frame) == "a,b\n-1.5,x\n,\n"
