"""The answer to a query as a table for the terminal, as CSV and as JSON."""

import csv
import io
from typing import Any

import msgspec

from rtxbench.printable import printable
from rtxbench.results.query import QueryAnswer

__all__ = ["as_csv_text", "as_json_text", "as_table_text"]

_WIDEST = 60


def as_table_text(answer: QueryAnswer) -> str:
    """Columns of equal width, numbers to four digits, text cut at 60 characters; it says where rows were left out."""
    body = [[_shown(value) for value in row] for row in answer.rows]
    widths = [max([len(name), *(len(row[i]) for row in body)]) for i, name in enumerate(answer.columns)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
             for row in (list(answer.columns), ["-" * width for width in widths], *body)]  # fmt: skip
    if answer.more:
        lines.append(f"more rows than {len(answer.rows)}: use --rows, --csv or --json")
    return "\n".join(lines)


def as_csv_text(answer: QueryAnswer) -> str:
    """RFC 4180; a text that a spreadsheet would take for a formula gets an apostrophe."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows([_harmless(value) for value in row] for row in answer.rows)
    return stream.getvalue()


def as_json_text(answer: QueryAnswer) -> str:
    """Write a list of objects, one a row; of two columns of one name the last counts."""
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    return msgspec.json.encode(rows, enc_hook=str).decode()


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    text = printable(str(value)).replace("\n", " ")
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
