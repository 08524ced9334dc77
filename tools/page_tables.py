"""Markdown tables of the generated pages."""

from collections.abc import Iterable, Sequence

from tools.cross_validation import Score

__all__ = ["cells", "row", "table"]


def row(label: str, scored: Score) -> str:
    """One line of a table of scores."""
    return "| " + " | ".join((label, *cells(scored))) + " |"


def cells(scored: Score) -> tuple[str, ...]:
    """Count, median, 90th percentile and coverage as text."""
    covered = "" if scored.coverage_ratio is None else f"{scored.coverage_ratio:.1%}"
    return str(scored.n), f"{scored.median_error_ratio:.1%}", f"{scored.p90_error_ratio:.1%}", covered


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown of a whole table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
