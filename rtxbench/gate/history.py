"""``rtxbench history``: series of gates against a pinned reference, and the commits where the level changed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rtxbench.errors import UsageError
from rtxbench.gate.outcome import as_ratio, describe_change
from rtxbench.gate.series import Series, history_series
from rtxbench.store import load_results

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["show_history"]

_OWN_FOLDER: Final = Path(".rtxbench")


def show_history(paths: Sequence[Path], case: str | None, reference: str | None, *, as_json: bool) -> None:
    """Print every series that matches.

    Args:
        paths: results files or folders; none means the gate's own folder here, if there is one.
        case: only this case.
        reference: only points against commits that begin so.
        as_json: JSON instead of tables.

    Raises:
        UsageError: there is none.
        RecordError: a file is missing or malformed.
    """
    import msgspec
    from rich.console import Console

    searched = list(paths) or [_OWN_FOLDER]
    runs = load_results(searched) if paths or _OWN_FOLDER.exists() else []
    chosen = [
        series
        for series in history_series(runs)
        if (case is None or series.case == case) and (reference is None or series.reference.startswith(reference))
    ]
    if not chosen:
        raise UsageError(
            f"no gate is on record in {', '.join(map(str, searched))}.",
            next_step="Run `rtxbench gate --baseline REFERENCE --history` first, or name the folder of its records.",
        )
    if as_json:
        print(msgspec.json.encode(chosen).decode())
        return
    for series in chosen:
        Console().print(_table(series))


def _table(series: Series) -> "Table":
    from rich.table import Table

    title = f"{series.case} on {series.machine}, step time against {series.reference[:10]}"
    table = Table(title=title, title_justify="left")
    for heading in ("commit", "measured", "step time (90 % interval)", "outcome", "level changed"):
        table.add_column(heading)
    steps = {step.first_point: step for step in series.steps}
    for index, point in enumerate(series.points):
        step = steps.get(index)
        change = "" if step is None else f"{100 * step.change_ratio:+.1f} % from here"
        commit = point.commit[:10] + ("+" if point.dirty else "")
        table.add_row(commit, point.finished_at, describe_change(as_ratio(point.log_ratio)), point.outcome, change)
    return table
