"""Results files in, report files out: loads, judges, asks every section, draws, writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from rtxbench.errors import RecordError, UsageError
from rtxbench.records import Verdict
from rtxbench.report.drawing.pool import Drawing
from rtxbench.report.labels import plural
from rtxbench.report.parts import Context, View, ViewPlan
from rtxbench.report.render.bounds import bounded
from rtxbench.report.render.html import render_html
from rtxbench.report.render.text import render_csv, render_markdown
from rtxbench.report.sections.table import VIEWS
from rtxbench.results.frames import cases_frame, observations_frame, ratios_frame
from rtxbench.results.store import LoadedRun, load_readable, set_apart
from rtxbench.results.tables import is_tables
from rtxbench.verdicts.claims import Claim
from rtxbench.verdicts.judge import judge

__all__ = [
    "DEFAULT_RESULTS",
    "Report",
    "build_context",
    "load_runs",
    "make_views",
    "write_report",
    "write_whole",
    "writing",
]

DEFAULT_RESULTS: Final = Path("results")
_PAGE: Final = "report.html"
_FIGURES: Final = "figures"


class Report(NamedTuple):
    """The files that were written, and what they say."""

    files: tuple[Path, ...]
    """The page first, then Markdown, data, figures."""
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]
    """Remarks for a reader of the terminal, for example a results file that was cut short."""


class LoadedRuns(NamedTuple):
    """The runs that could be read, and the files that could not."""

    runs: tuple[LoadedRun, ...]
    """In order of start."""
    unreadable: tuple[RecordError, ...]
    """One error a file that was left out."""
    excerpt: str = ""
    """The larger set they were chosen from, where exported tables hold more than a page needs."""


def load_runs(paths: Sequence[Path], *, strict: bool = False, here: str = "") -> LoadedRuns:
    """Load every run under ``paths`` in order of start; the results folder of the working directory if none is named.

    Of a folder that `rtxbench export` wrote, the records a report is about, of the machine ``here`` above all.

    Raises:
        RecordError: nothing is there, no record is finished, no file can be read, or, if ``strict``, any cannot.
    """
    chosen = list(paths) or [DEFAULT_RESULTS]
    if len(chosen) == 1 and is_tables(chosen[0]):
        from rtxbench.results.selection import select_runs

        selection = select_runs(chosen[0], here)
        return LoadedRuns(tuple(set_apart(selection.runs)), (), selection.sentence)
    if not paths and not DEFAULT_RESULTS.exists():
        raise _nothing(f"there is no folder {DEFAULT_RESULTS}/ here")
    loaded_runs, unreadable = load_readable(chosen)
    if unreadable and (strict or not loaded_runs):
        raise unreadable[0]
    runs = sorted(loaded_runs, key=lambda loaded: (loaded.run.started_at, loaded.run.run_id))
    named = ", ".join(map(str, chosen))
    if not runs:
        raise _nothing(f"no results file lies under {named}")
    if not any(loaded.records for loaded in runs):
        raise _nothing(f"the {plural(len(runs), 'run')} under {named} stopped before the first case was finished")
    return LoadedRuns(tuple(set_apart(runs)), tuple(unreadable))


def _nothing(what: str) -> RecordError:
    return RecordError(
        f"there is nothing to report: {what}.",
        next_step="Measure first with `rtxbench run` (in a checkout: `pytest bench/ --benchmark-only`), "
        "or name a results folder: `python -m rtxbench.report FOLDER`.",
    )


def build_context(
    runs: Sequence[LoadedRun],
    claims: Sequence[Claim],
    *,
    here: str = "",
    foreign: bool = False,
    unreadable: Sequence[RecordError] = (),
    excerpt: str = "",
) -> Context:
    """Gather the runs, and every claim judged on them.

    Args:
        runs: what to report on.
        claims: what to judge.
        here: slug of the reader's machine, if it is known.
        foreign: whether no run is of the reader's machine, which the page then says.
        unreadable: files that were left out, which the page names.
        excerpt: what the runs were chosen from, which the page says.

    Raises:
        UsageError: two claims share an id.
    """
    twice = [claim.id for number, claim in enumerate(claims) if claim.id in {other.id for other in claims[:number]}]
    if twice:
        raise UsageError(f"two claims are called {twice[0]!r}.", next_step="Give your own claim another id.")
    return Context(
        runs=tuple(runs),
        verdicts=tuple(judge(runs, claims)),
        claims={claim.id: claim for claim in claims},
        here=here,
        foreign=foreign,
        unreadable=tuple(map(str, unreadable)),
        excerpt=excerpt,
    )


def write_report(
    context: Context,
    out: Path,
    plans: Sequence[ViewPlan] = VIEWS,
    processes: Executor | None = None,
    *,
    png: bool = False,
) -> Report:
    """Write page, Markdown, CSV, verdicts and figures into ``out``, which is created.

    Args:
        context: what the report is about.
        out: folder.
        plans: the page's views and what each shows, in order.
        processes: where to draw (`rtxbench.report.drawing.pool.drawing_processes`); in this one where ``None``.
        png: whether figures are written as PNG, too.

    Raises:
        UsageError: ``out`` cannot be written.
    """
    with writing(out):
        (out / _FIGURES).mkdir(parents=True, exist_ok=True)
    drawing = Drawing(processes, png=png)
    views = make_views(context, plans, drawing)
    texts = {
        "report.md": render_markdown(_title(context), views, _FIGURES),
        "verdicts.json": _verdicts_json(context.verdicts),
        "cases.csv": render_csv(cases_frame(context.runs)),
        "ratios.csv": render_csv(ratios_frame(context.runs)),
        "observations.csv": render_csv(observations_frame(context.runs)),
    }
    drawn = drawing.finish()
    page = render_html(context, views, {name: figure.svg for name, figure in drawn.items()}, tuple(texts))
    contents = {name: text.encode() for name, text in {_PAGE: page, **texts}.items()}
    for name, figure in drawn.items():
        contents[f"{_FIGURES}/{name}.svg"] = figure.svg.encode()
        if png:
            contents[f"{_FIGURES}/{name}.png"] = figure.png
    with writing(out):
        for name, data in contents.items():
            write_whole(out / name, data)
    return Report(tuple(out / name for name in contents), context.verdicts, _notes(context))


def make_views(context: Context, plans: Sequence[ViewPlan], drawing: Drawing | None = None) -> tuple[View, ...]:
    """Make every view that has something to say, and begin to draw its figures as each section is finished."""
    views = []
    for plan in plans:
        sections = []
        for make in plan.sections:
            if (made := make(context)) is not None:
                section = bounded(made)
                sections.append(section)
                if drawing is not None:
                    drawing.begin(section.figures)
        if sections:
            views.append(View(id=plan.id, title=plan.title, sections=tuple(sections)))
    return tuple(views)


def _title(context: Context) -> str:
    return f"{context.titles[context.focus]}: rtxbench report"


def _verdicts_json(verdicts: Sequence[Verdict]) -> str:
    return msgspec.json.format(msgspec.json.encode(list(verdicts)), indent=2).decode() + "\n"


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file at once: a full disk or a signal leaves the old one as it was."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Translate the operating system's errors, naming the folder and the cure."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"cannot write the report to {out}: {error.strerror}.",
            next_step="Choose another folder with --out, or free some disk space.",
        ) from error


def _notes(context: Context) -> tuple[str, ...]:
    return tuple(
        f"{loaded.path} was cut short (its run was stopped while writing); "
        f"{plural(len(loaded.records), 'complete record')} used."
        for loaded in context.runs
        if loaded.truncated
    )
