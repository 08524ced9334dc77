"""``rtxbench gate``: from the request to the exit code. Whatever happens, trees are removed and results are kept."""

import contextlib
import os
import re
import signal
import sys
import time
import tomllib
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

import msgspec

from rtxbench.errors import MeasurementError, RtxbenchError, UsageError
from rtxbench.gate import environments, trees
from rtxbench.gate.decision import DEFAULT_MARGIN_RATIO, Decision
from rtxbench.gate.outcome import GateReport, gate_report, render_markdown, render_table
from rtxbench.gate.recording import watching
from rtxbench.gate.records import (
    append_history,
    case_observation,
    launch_observation,
    open_journal,
)
from rtxbench.gate.session import (
    GATE_PROFILES,
    ArmSource,
    CaseResult,
    GateLaunch,
    Settings,
    measure_launch,
    run_session,
)
from rtxbench.hardware.environment import describe
from rtxbench.measure.profiles import Profile
from rtxbench.records import GATE_LAUNCH_TOPIC, GATE_TOPIC, Environment
from rtxbench.store import RunWriter, disk_errors
from rtxbench.units import format_duration

__all__ = ["INTERRUPTED", "Request", "gate", "parse_duration_s", "parse_plan", "parse_ratio", "write_text"]

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C: never 1, which means a regression."""

_DEFAULT_BUDGET_S: Final = 600.0


class Request(NamedTuple):
    """What the user asked for. ``None`` where the candidate's ``[tool.rtxbench.gate]`` or the default decides."""

    baseline: str
    candidate: str = "."
    cases: tuple[str, ...] = ()
    margin: str | None = None
    budget: str | None = None
    baseline_python: str | None = None
    candidate_python: str | None = None
    install: bool | None = None
    """Build environments: ``None`` only where the arms' dependencies differ."""
    extras: tuple[str, ...] = ()
    results_dir: Path = Path(".rtxbench")
    history: bool = False
    record_hardware: bool = True
    json_path: Path | None = None
    markdown_path: Path | None = None
    profile: Profile = GATE_PROFILES["standard"]


def gate(request: Request, folder: Path | None = None) -> int:
    """Run the gate; the exit code is the outcome's (0, 1, 6), 130 after Ctrl-C, an error's own otherwise.

    Raises:
        RtxbenchError: after the error has also been written to the JSON and Markdown asked for.
    """
    began_s = time.monotonic()
    try:
        with _terminable():
            return _gate(request, (folder or Path.cwd()).resolve(), began_s)
    except KeyboardInterrupt:
        _say("interrupted: the launches already finished are kept, the work trees are removed.")
        return INTERRUPTED
    except RtxbenchError as error:
        _write_failure(request, error, began_s)
        raise
    except Exception as error:  # an unforeseen crash must not leave with 1, which accuses the candidate
        traceback.print_exc()
        raise MeasurementError(
            f"the gate itself failed: {type(error).__name__}: {error}.",
            next_step="Report this with the traceback above; nothing can be said about the candidate.",
        ) from error


def parse_ratio(text: str) -> float:
    """``5%`` or ``0.05`` → 0.05.

    Raises:
        UsageError: not a number, or outside 0.5–50 %.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(%?)\s*", text)
    value = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0.005 <= value <= 0.5:
        raise UsageError(f"{text!r} is no margin.", next_step="Write 0.5% to 50%, for example 5% or 0.05.")
    return value


def parse_duration_s(text: str) -> float:
    """``90s``, ``10m``, ``1.5h`` or plain seconds → seconds.

    Raises:
        UsageError: not a duration above zero.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(s|m|min|h|)\s*", text)
    value_s = float(match[1]) * {"s": 1, "": 1, "m": 60, "min": 60, "h": 3600}[match[2]] if match else 0.0
    if value_s <= 0:
        raise UsageError(f"{text!r} is no duration.", next_step="Write for example 90s, 10m or 1h.")
    return value_s


def parse_plan(texts: Sequence[str]) -> dict[float, int]:
    """``["20", "5%=10"]`` → ``{0.0: 20, 0.05: 10}``: planted slow-down → gates.

    Raises:
        UsageError: not of that form.
    """
    plan: dict[float, int] = {}
    for text in texts:
        planted, _, count = text.rpartition("=")
        if not count.strip().isdigit():
            raise UsageError(f"{text!r} is no number of gates.", next_step="Write for example 20, or 5%=10.")
        plan[parse_ratio(planted) if planted and planted.strip("0.% ") else 0.0] = int(count)
    return plan


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step, so that a full disk leaves the old one or the new one, never half of either.

    Raises:
        MeasurementError: the disk is full or the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with disk_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _gate(request: Request, folder: Path, began_s: float) -> int:
    with trees.checked_out(request.baseline, folder) as baseline, trees.checked_out(request.candidate, folder) as new:
        settings = _settings(request, new.path)
        sources = _sources(request, baseline.path, new.path)
        _announce(baseline, new, settings, folder)
        environment = describe()
        labels = {"baseline": baseline.label, "candidate": new.label, "dirty": str(new.dirty).lower()}
        labels |= {"reference": baseline.commit or baseline.asked, "commit": new.commit or new.asked}
        with open_journal(request.results_dir / "gate", environment, "gate") as journal:
            labels["session"] = journal.run.run_id
            results = _measure(request, settings, sources, journal, labels)
            trees.check_unchanged(baseline)
            trees.check_unchanged(new)
            for result in results:
                _append_case(journal, result, labels)
        report = gate_report(
            results,
            baseline=baseline.label,
            candidate=new.label,
            margin_ratio=settings.margin_ratio,
            machine=environment.machine,
            duration_s=time.monotonic() - began_s,
            records=str(journal.path),
        )
    _publish(request, report)
    if request.history:
        _say(f"history: {_history(request, environment, results, labels)}")
    return report.exit_code


def _measure(
    request: Request,
    settings: Settings,
    sources: tuple[ArmSource, ArmSource],
    journal: RunWriter,
    labels: dict[str, str],
) -> list[CaseResult]:
    began_s = time.monotonic()

    def done(launch: GateLaunch, decision: Decision) -> None:
        journal.append(launch_observation(journal.run, launch, GATE_LAUNCH_TOPIC, labels))
        _say(_progress(launch, decision, time.monotonic() - began_s))

    trace_path = journal.path.with_suffix(".trace.jsonl") if request.record_hardware else None
    with watching(trace_path, journal.run.environment) as watch:
        return run_session(settings, lambda case, number: measure_launch(*sources, settings, case, number), done, watch)


def _append_case(journal: RunWriter, result: CaseResult, labels: dict[str, str]) -> None:
    line = case_observation(journal.run, result, labels, GATE_TOPIC)
    if line is not None:
        journal.append(line)


def _history(request: Request, environment: Environment, results: list[CaseResult], labels: dict[str, str]) -> Path:
    return append_history(request.results_dir, environment, results, labels)


def _settings(request: Request, candidate: Path) -> Settings:
    """Options of the command line, then of the candidate's ``[tool.rtxbench.gate]``, then the defaults."""
    table = _table(candidate / "pyproject.toml")
    cases = request.cases or tuple(table.get("cases", ()))
    if not cases:
        raise UsageError(
            "nothing to gate.",
            next_step='Pass --cases package.module:function, or set cases = ["…"] under [tool.rtxbench.gate].',
        )
    for case in cases:
        if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", case):
            raise UsageError(f"{case!r} is not module:function.", next_step="Write for example train.steps:resnet.")
    margin, budget = request.margin or table.get("margin"), request.budget or table.get("budget")
    return Settings(
        cases=tuple(dict.fromkeys(cases)),
        margin_ratio=parse_ratio(str(margin)) if margin else DEFAULT_MARGIN_RATIO,
        budget_s=parse_duration_s(str(budget)) if budget else _DEFAULT_BUDGET_S,
        profile=request.profile,
    )


def _table(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("rtxbench", {}).get("gate", {})
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is malformed: {error}.", next_step="Mend it.") from error
    unknown = set(table) - {"cases", "margin", "budget"}
    if unknown:
        raise UsageError(
            f"{path}: [tool.rtxbench.gate] has no key {sorted(unknown)[0]!r}.", next_step="Use cases, margin, budget."
        )
    return dict(table)


def _sources(request: Request, baseline: Path, candidate: Path) -> tuple[ArmSource, ArmSource]:
    """Both arms' interpreters: named, or the running one where the dependencies agree, or one built per arm."""
    needed = [environments.dependencies(tree, request.extras) for tree in (baseline, candidate)]
    build = needed[0].digest != needed[1].digest if request.install is None else request.install
    first = _source(baseline, needed[0] if build else None, request.baseline_python)
    return first, _source(candidate, needed[1] if build else None, request.candidate_python)


def _source(tree: Path, wanted: environments.Dependencies | None, named: str | None) -> ArmSource:
    python = named or sys.executable
    if named is None and wanted is not None:
        _say(f"environment {wanted.digest}: building or reusing it in {environments.cache_dir()}")
        python = str(environments.arm_python(tree, wanted))
    return ArmSource(_checked_python(python), tree, environments.search_path(tree))


def _checked_python(python: str) -> str:
    if not (os.path.isfile(python) and os.access(python, os.X_OK)):  # noqa: PTH113 (a pair of checks on one string)
        raise UsageError(f"{python} is no interpreter.", next_step="Pass the path of a python executable.")
    return python


def _publish(request: Request, report: GateReport) -> None:
    """The terminal first: should a file fail, the outcome has been seen."""
    from rich.console import Console

    Console().print(render_table(report))
    _say(f"every launch: {report.records}")
    _write_report(request, report)


def _write_report(request: Request, report: GateReport) -> None:
    if request.json_path:
        write_text(request.json_path, msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n")
    if request.markdown_path:
        write_text(request.markdown_path, render_markdown(report))


def _write_failure(request: Request, error: RtxbenchError, began_s: float) -> None:
    """A failed gate also leaves its summary, so that a pull request shows why."""
    report = GateReport(
        outcome="error",
        exit_code=error.exit_code,
        baseline=request.baseline,
        candidate=request.candidate,
        margin_ratio=parse_ratio(request.margin) if request.margin and error.exit_code != 2 else DEFAULT_MARGIN_RATIO,
        machine="",
        duration_s=time.monotonic() - began_s,
        error=str(error),
    )
    try:
        _write_report(request, report)
    except MeasurementError as second:
        _say(str(second))  # the first error is raised and matters more


def _announce(baseline: trees.Tree, candidate: trees.Tree, settings: Settings, folder: Path) -> None:
    _say(f"baseline  {baseline.label}\ncandidate {candidate.label}")
    if candidate.commit and candidate.commit == baseline.commit and not candidate.dirty:
        _say("caution: both are the same commit; this gate can only show that it does not cry wolf.")
    if candidate.path != folder and trees.is_dirty(folder):
        _say(f"caution: {folder} has uncommitted changes, which are not part of {candidate.asked}; gate '.' for them.")
    count = len(settings.cases)
    _say(f"{count} case(s), budget {format_duration(settings.budget_s)}; Ctrl-C keeps finished launches.")


def _progress(launch: GateLaunch, decision: Decision, elapsed_s: float) -> str:
    """One line a launch: where the gate stands, and about how long until it can next say something."""
    change = f"{100 * launch.log_ratio:+.2f} %"
    if decision.outcome is not None:
        following: str = decision.outcome
    else:
        wait_s = decision.launches_wanted * elapsed_s / launch.number
        following = f"{decision.launches_wanted} more to {decision.stage}, about {format_duration(wait_s)} a case"
    return f"{launch.case}  launch {launch.number} ({launch.stage})  step time {change}  → {following}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """CI cancels with SIGTERM: take it as Ctrl-C, so that work trees and workers are cleaned up."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
