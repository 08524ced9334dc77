"""``rtxbench gate``: from the request to the exit code. Whatever happens, trees are removed and results are kept."""

import contextlib
import math
import os
import re
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from rtxbench.errors import MeasurementError, RtxbenchError, UsageError
from rtxbench.exits import end_in_order
from rtxbench.gate import environments, trees
from rtxbench.gate.launching import GATE_PROFILES, ArmSource, measure_launch
from rtxbench.gate.outcome import GateReport, gate_report, render_markdown, render_table
from rtxbench.gate.recording import watching
from rtxbench.gate.records import NOTHING, Planting, append_history, case_observations, launch_observation, open_journal
from rtxbench.gate.session import CaseResult, GateLaunch, Settings, run_session
from rtxbench.gate.settings import Asked, parse_margins, settings_of
from rtxbench.gate.statistics.decision import DEFAULT_MARGINS, CaseDecision
from rtxbench.hardware.environment import describe
from rtxbench.measure.profiles import Profile
from rtxbench.records import GATE_LAUNCH_TOPIC
from rtxbench.results.store import RunWriter, disk_errors
from rtxbench.units import format_change, format_duration

if TYPE_CHECKING:
    from rtxbench.gate.pool.machines import Pool

__all__ = ["INTERRUPTED", "GateRequest", "gate", "parse_plan", "write_text"]

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C: never 1, which means a regression."""


class GateRequest(NamedTuple):
    """The user's options."""

    baseline: str
    candidate: str = "."
    asked: Asked = Asked()
    """``None`` where ``[tool.rtxbench.gate]`` of the trees or the default decides."""
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
    pool: str | None = None
    """Address of a Ray cluster whose equal machines share the launches; this machine alone where ``None``."""


def gate(request: GateRequest, folder: Path | None = None) -> int:
    """Run the gate; the exit code is the outcome's (0, 1, 6), 130 after Ctrl-C, an error's own otherwise.

    Raises:
        RtxbenchError: after the error has also been written to the JSON and Markdown asked for.
    """
    began_s = time.monotonic()
    try:
        with end_in_order(lambda number: KeyboardInterrupt()):
            return _gate(request, _here(folder), began_s)
    except KeyboardInterrupt:
        _say("interrupted: the launches already finished are kept, the work trees are removed.")
        return INTERRUPTED
    except RtxbenchError as error:
        _write_failure(request, error, began_s)
        raise
    except Exception as error:  # an unforeseen crash must not leave with 1, which accuses the candidate
        _say("".join(f"| {line}" for line in traceback.format_exc().splitlines(keepends=True)))
        raise MeasurementError(
            f"the gate itself failed: {type(error).__name__}: {error}.",
            next_step="Report this with the traceback above; nothing can be said about the candidate.",
        ) from error


def parse_plan(texts: Sequence[str]) -> dict[Planting, int]:
    """Read ``["20", "5%=10"]`` as ``{0.0: 20, 0.05: 10}``: planted slow-down → gates.

    Raises:
        UsageError: not of that form.
    """
    plan: dict[Planting, int] = {}
    for text in texts:
        planted, _, count = text.rpartition("=")
        if not re.fullmatch(r"\s*[0-9]{1,6}\s*", count):
            raise UsageError(f"{text!r} is no number of gates.", next_step="Write for example 20, or 5%=10.")
        if not planted.strip("0.% "):
            plan[NOTHING] = int(count)
            continue
        ((_case, quantities),) = parse_margins([planted]).items()
        plan |= {Planting(quantity, ratio): int(count) for quantity, ratio in quantities.items()}
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


def _here(folder: Path | None) -> Path:
    try:
        return (folder or Path.cwd()).resolve()
    except OSError as error:
        raise UsageError("the working folder is gone.", next_step="Change into a folder that exists.") from error


def _gate(request: GateRequest, folder: Path, began_s: float) -> int:
    own = tuple(path for path in (request.results_dir, request.json_path, request.markdown_path) if path is not None)
    with (
        trees.checked_out(request.baseline, folder, own) as baseline,
        trees.checked_out(request.candidate, folder, own) as new,
        contextlib.ExitStack() as stack,
    ):
        settings, notes = settings_of(request.asked, baseline.path, new.path)
        pool = None if request.pool is None else stack.enter_context(_pooled(request, baseline.path, new.path))
        measuring = pool or _sources(request, baseline.path, new.path)
        _announce(baseline, new, settings, folder, own)
        for note in notes:
            _say(f"caution: {note}.")
        environment = pool.environment if pool else describe()
        labels = {"baseline": baseline.label, "candidate": new.label, "dirty": str(new.dirty).lower()}
        labels |= {"reference": baseline.commit or baseline.asked, "commit": new.commit or new.asked}
        with open_journal(request.results_dir / "gate", environment, "gate") as journal:
            labels["session"] = journal.run.run_id
            results = _measure(request, settings, measuring, journal, labels)
            trees.check_unchanged(baseline)
            trees.check_unchanged(new)
            for line in (line for result in results for line in case_observations(journal.run, result, labels)):
                journal.append(line)
        report = gate_report(
            results,
            baseline=baseline.label,
            candidate=new.label,
            margin_ratio=settings.margins["step time"],
            machine=", ".join(pool.names) if pool else environment.machine,
            duration_s=time.monotonic() - began_s,
            records=str(journal.path),
            notes=notes,
        )
    _publish(request, report)
    if request.history:
        _say(f"history: {append_history(request.results_dir, environment, results, labels)}")
    return report.exit_code


def _measure(
    request: GateRequest,
    settings: Settings,
    measuring: "Pool | tuple[ArmSource, ArmSource]",
    journal: RunWriter,
    labels: dict[str, str],
) -> list[CaseResult]:
    began_s = time.monotonic()

    def done(launch: GateLaunch, decision: CaseDecision) -> None:
        journal.append(launch_observation(journal.run, launch, GATE_LAUNCH_TOPIC, labels))
        _say(_progress(launch, decision, time.monotonic() - began_s, settings.budget_s))

    if not isinstance(measuring, tuple):
        return run_session(settings, measuring.measure, done, machine_of=measuring.machine_of)
    baseline, candidate = measuring
    trace_path = journal.path.with_suffix(".trace.jsonl") if request.record_hardware else None
    with watching(trace_path, journal.run.environment) as watch:
        return run_session(
            settings,
            lambda case, number: measure_launch(baseline, candidate, request.profile, case, number),
            done,
            watch,
        )


@contextlib.contextmanager
def _pooled(request: GateRequest, baseline: Path, candidate: Path) -> "Iterator[Pool]":
    """Take the pool's machines; each runs the arms in interpreters of its own.

    Raises:
        UsageError: the arms ask for different dependencies, or environments were asked for.
    """
    from rtxbench.gate.pool.machines import pooled
    from rtxbench.gate.pool.node import Asked as AskedLaunch
    from rtxbench.gate.pool.parcel import packed

    digests = {environments.dependencies(tree, request.extras).digest for tree in (baseline, candidate)}
    named = request.baseline_python is not None and request.candidate_python is not None
    if request.install or (len(digests) > 1 and request.install is None and not named):
        raise UsageError(
            "a pool builds no environments.",
            next_step="Install what the arms need on every machine, and name the interpreters with --baseline-python "
            "and --candidate-python; or gate on one machine.",
        )
    asked = AskedLaunch(
        case="",
        number=0,
        profile=request.profile.name.removeprefix("gate-"),
        baseline_python=request.baseline_python or "",
        candidate_python=request.candidate_python or "",
    )
    with pooled(request.pool or "auto", packed(baseline, candidate), asked) as (pool, others):
        _say(f"pool: {', '.join(pool.names)}" + (f"; unlike them and left out: {', '.join(others)}" if others else ""))
        yield pool


def _sources(request: GateRequest, baseline: Path, candidate: Path) -> tuple[ArmSource, ArmSource]:
    """Return both arms' interpreters: named, or the running one where the dependencies agree, or one built per arm."""
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


def _publish(request: GateRequest, report: GateReport) -> None:
    """Write the files first: what a terminal cannot show must not take the outcome with it."""
    from rich.console import Console

    try:
        _write_report(request, report)
    finally:
        with contextlib.suppress(AttributeError, ValueError):  # a stream that is no terminal's
            sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
        with contextlib.suppress(OSError):
            Console().print(render_table(report))
        _say(f"every launch: {report.records}")


def _write_report(request: GateRequest, report: GateReport) -> None:
    if request.json_path:
        write_text(request.json_path, msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n")
    if request.markdown_path:
        write_text(request.markdown_path, render_markdown(report))


def _write_failure(request: GateRequest, error: RtxbenchError, began_s: float) -> None:
    """Leave the summary of a gate that failed too, so that a pull request shows why."""
    report = GateReport(
        outcome="error",
        exit_code=error.exit_code,
        baseline=request.baseline,
        candidate=request.candidate,
        margin_ratio=_margin_asked(request),
        machine="",
        duration_s=time.monotonic() - began_s,
        error=str(error),
    )
    try:
        _write_report(request, report)
    except MeasurementError as second:
        _say(str(second))  # the first error is raised and matters more


def _margin_asked(request: GateRequest) -> float:
    with contextlib.suppress(UsageError):
        return parse_margins(request.asked.margins).get("", {}).get("step time", DEFAULT_MARGINS["step time"])
    return DEFAULT_MARGINS["step time"]


def _announce(
    baseline: trees.Tree, candidate: trees.Tree, settings: Settings, folder: Path, own: Sequence[Path]
) -> None:
    _say(f"baseline  {baseline.label}\ncandidate {candidate.label}")
    if candidate.commit and candidate.commit == baseline.commit and not candidate.dirty:
        _say("caution: both are the same commit; this gate can only show that it does not cry wolf.")
    if candidate.path != folder and trees.is_dirty(folder, own):
        _say(f"caution: {folder} has uncommitted changes, which are not part of {candidate.asked}; gate '.' for them.")
    count = len(settings.cases)
    _say(f"{count} case(s), budget {format_duration(settings.budget_s)}; Ctrl-C keeps finished launches.")


def _progress(launch: GateLaunch, decision: CaseDecision, elapsed_s: float, budget_s: float) -> str:
    """Write one line a launch: what it measured, what is decided, what is still open, and the time left."""
    changes = ", ".join(f"{name} {format_change(math.expm1(value), 2)}" for name, value in launch.log_ratios.items()
                        if name in launch.gated)  # fmt: skip
    if decision.outcome is not None:
        following: str = decision.outcome
    else:
        open_ones = [name for name, one in decision.quantities.items() if one.outcome is None]
        left = format_duration(max(0.0, budget_s - elapsed_s))
        following = f"open: {', '.join(open_ones)}; {left} left"
    return f"{launch.case}  launch {launch.number}  {changes}  → {following}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
