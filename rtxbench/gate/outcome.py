"""The gate's answer: one frozen value, rendered for a terminal, a pull request or a program."""

import math
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from rtxbench.gate.session import CaseResult, step_times_s
from rtxbench.gate.statistics.bimodality import two_speeds
from rtxbench.gate.statistics.decision import EXIT_CODES, GateOutcome, combined_outcome
from rtxbench.gate.statistics.evidence import anytime_estimate
from rtxbench.records import Estimate
from rtxbench.stats import launch_estimate, log_ratio_per_round, theil_sen_slope, trimmed_mean
from rtxbench.units import format_change, format_duration, format_percent, format_ratio
from rtxbench.wording import say_flag

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = [
    "CaseReport",
    "GateReport",
    "QuantityReport",
    "as_ratio",
    "describe_change",
    "gate_report",
    "render_markdown",
    "render_table",
]

_EXPLANATIONS = {
    "margin-excluded": "every increase is below its margin",
    "evidence-of-slow-down": "the evidence of an increase is beyond chance",
    "noise-too-large-for-margin": "the machine is too noisy for this margin",
    "launches-at-two-speeds": "launches lie so far apart that a state of the machine explains the increase; pin the "
    "BLAS threads (OMP_NUM_THREADS=1) or give the gate a quiet core",
    "budget-spent": "the time budget was spent before a decision",
}
_SYMBOLS: dict[str, str] = {"pass": "✅", "regression": "❌", "inconclusive": "⚠️", "error": "💥"}


class QuantityReport(msgspec.Struct, frozen=True, kw_only=True):
    """Step time, peak memory or first step of one case. A ratio above 1: the candidate is slower, or needs more."""

    name: str
    outcome: GateOutcome | None
    """``None`` where nothing could be said."""
    margin_ratio: float
    ratio: Estimate | None
    """Candidate ÷ baseline, with an interval that holds at whatever launch the gate stopped."""
    log_ratios: tuple[float, ...]


class CaseReport(msgspec.Struct, frozen=True, kw_only=True):
    """One case as the gate saw it."""

    case: str
    outcome: GateOutcome
    reason: str
    launches: int
    quantities: tuple[QuantityReport, ...]
    cautions: tuple[str, ...] = ()

    @property
    def step_time_ratio(self) -> Estimate | None:
        """Candidate ÷ baseline; ``None`` before the first launch."""
        return next((one.ratio for one in self.quantities if one.name == "step time"), None)


class GateReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a reader or a program needs to act on."""

    outcome: GateOutcome | Literal["error"]
    exit_code: int
    baseline: str
    candidate: str
    margin_ratio: float
    """Of step time; each case names its own."""
    machine: str
    duration_s: float
    notes: tuple[str, ...] = ()
    """Remarks on the settings: a margin that the candidate asked for and did not get."""
    cases: tuple[CaseReport, ...] = ()
    error: str | None = None
    records: str | None = None
    """Results file that holds every launch."""


def gate_report(
    results: list[CaseResult],
    *,
    baseline: str,
    candidate: str,
    margin_ratio: float,
    machine: str,
    duration_s: float,
    records: str | None = None,
    notes: tuple[str, ...] = (),
) -> GateReport:
    """Sum up decided cases; the worst outcome is the whole's.

    Args:
        results: one per case.
        baseline: what was compared with, in words.
        candidate: what was compared, in words.
        margin_ratio: the slow-down that must not go through, 0.05 for 5 %.
        machine: its slug.
        duration_s: of the whole gate, seconds.
        records: results file that holds every launch.
        notes: on the settings.
    """
    outcome = combined_outcome([result.outcome for result in results])
    return GateReport(
        outcome=outcome,
        exit_code=EXIT_CODES[outcome],
        baseline=baseline,
        candidate=candidate,
        margin_ratio=margin_ratio,
        machine=machine,
        duration_s=duration_s,
        cases=tuple(_case_report(result) for result in results),
        records=records,
        notes=notes,
    )


def render_markdown(report: GateReport) -> str:
    """Write a summary for a pull request."""
    lines = [
        f"### {_SYMBOLS[report.outcome]} Throughput gate: {report.outcome}",
        "",
        f"Candidate {_cell(report.candidate)} against baseline {_cell(report.baseline)}; "
        f"a slow-down of {_percent(report.margin_ratio)} must not go through.",
        *(f"\n{_cell(note)}" for note in report.notes),
    ]
    if report.error:
        lines += ["", "```text", report.error.replace("```", "'''"), "```"]
    if report.cases:
        lines += ["", "| case | outcome | change, 90 % interval | launches | why |", "|---|---|---|---|---|"]
    for case in report.cases:
        changes = "<br>".join(_cell(_change(one)) for one in case.quantities)
        verdict = f"{_SYMBOLS[case.outcome]} {case.outcome}"
        lines.append(f"| `{case.case}` | {verdict} | {changes} | {case.launches} | {_cell(_why(case))} |")
    lines += ["", f"<sub>measured on `{report.machine}` in {format_duration(report.duration_s)}; {_NOTE}</sub>", ""]
    return "\n".join(lines)


_NOTE = "both arms interleaved on one machine, the process launch as error unit, evidence that holds at any stop"


def render_table(report: GateReport) -> "RenderableType":
    """Draw the same for a terminal (rich): a table that fits 80 columns, then the reasons."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    colours = {"pass": "green", "regression": "red", "inconclusive": "yellow", "error": "red"}
    title = Text(f"throughput gate: {report.outcome}", style=f"bold {colours[report.outcome]}")
    table = Table(title=title, title_justify="left")
    table.add_column("case", overflow="fold")
    for heading in ("outcome", "change (90 % interval)", "launches"):
        table.add_column(heading, no_wrap=True)
    reasons = []
    for case in report.cases:
        outcome = Text(case.outcome, style=colours[case.outcome])
        changes = "\n".join(_change(one) for one in case.quantities)
        table.add_row(case.case, outcome, changes, str(case.launches))
        reasons.append(Text(f"{case.case}: {_why(case)}"))
    return Group(table, *reasons, *(Text(note) for note in report.notes))


def describe_change(ratio: Estimate | None) -> str:
    """Write the change of step time, ``+5.1 % (+4.2 … +6.0 %)``; positive is slower."""
    if ratio is None:
        return "not measured"
    if ratio.low is None or ratio.high is None:
        return f"{format_change(ratio.value - 1)} (one launch)"
    low, high = (100 * (bound - 1) for bound in (ratio.low, ratio.high))
    return f"{format_change(ratio.value - 1)} ({low:+.1f} … {high:+.1f} %)"


def _change(one: QuantityReport) -> str:
    """Write ``step time +5.1 % (+4.2 … +6.0 %)``."""
    marked = {"regression": " (regression)", None: " (open)"}.get(one.outcome, "")
    return f"{one.name} {describe_change(one.ratio)}{marked}"


def _case_report(result: CaseResult) -> CaseReport:
    return CaseReport(
        case=result.case,
        outcome=result.outcome,
        reason=result.reason,
        launches=len(result.launches),
        quantities=tuple(
            QuantityReport(
                name=name,
                outcome=result.decision.quantities[name].outcome,
                margin_ratio=result.margins[name],
                ratio=as_ratio(anytime_estimate(values, machines=result.machines)) if values else None,
                log_ratios=values,
            )
            for name, values in result.log_ratios.items()
        ),
        cautions=_cautions(result),
    )


def as_ratio(log: Estimate | None) -> Estimate | None:
    """Turn a log-ratio and its interval into a ratio (1.05: 5 % slower). ``None`` stays ``None``."""
    if log is None:
        return None
    low, high = (None if bound is None else math.exp(bound) for bound in (log.low, log.high))
    return Estimate(value=math.exp(log.value), low=low, high=high, n=log.n, confidence=log.confidence)


def _cautions(result: CaseResult) -> tuple[str, ...]:
    """List what weakens the figure without voiding it, each said once."""
    found = [*_two_speeds(result), *_trend(result), *_interference(result)]
    said = sorted({say_flag(flag.code) for launch in result.launches for flag in launch.flags})
    return (*found, *([f"while measuring, {'; '.join(said)}"] if said else []))


def _two_speeds(result: CaseResult) -> list[str]:
    """Warn of an arm whose blocks run at two speeds: its ratio is one of modes, not of code."""
    for role in ("baseline", "candidate"):
        pairs = [pair for launch in result.launches for pair in launch.pairs]
        blocks = [np.log(step_times_s(getattr(pair, role))).ravel() for pair in pairs]
        found = two_speeds(np.concatenate(blocks)) if blocks else None
        if found is not None:
            return [
                f"bimodal: {format_percent(found.slow_share, 0)} of the {role}'s blocks take {found.factor:.1f} times "
                "as long as the others; pin the BLAS threads (OMP_NUM_THREADS=1) or give the gate a quiet core"
            ]
    return []


def _trend(result: CaseResult) -> list[str]:
    """Does the ratio itself still move within a launch? Only said where the launches agree on it."""
    slopes = []
    for launch in result.launches:
        own = [log_ratio_per_round(step_times_s(pair.baseline), step_times_s(pair.candidate)) for pair in launch.pairs]
        moves = [theil_sen_slope(rounds) * len(rounds) for rounds in own if len(rounds) > 2]
        slopes += [trimmed_mean(moves)] if moves else []
    moved = launch_estimate(slopes, 0.99) if len(slopes) > 2 else None
    if moved is None or moved.low is None or moved.high is None or moved.low <= 0.0 <= moved.high:
        return []
    if abs(moved.value) < math.log1p(result.margins["step time"] / 2):
        return []
    return [
        f"the ratio moves by {format_change(math.expm1(moved.value))} within a launch: warm up longer (--profile gpu)"
    ]


def _interference(result: CaseResult) -> list[str]:
    """Does the baseline alone run at another speed than interleaved? Only said where the launches agree on it."""
    logs = []
    for launch in result.launches:
        alone = [math.log(pair.baseline.solo_ratio) for pair in launch.pairs if pair.baseline.solo_ratio]
        logs += [trimmed_mean(alone)] if alone else []
    solo = launch_estimate(logs) if len(logs) > 1 else None
    if solo is None or solo.low is None or solo.high is None or not (solo.low > 0.01 or solo.high < -0.01):
        return []
    return [f"interference: alone the baseline's step takes {format_ratio(math.exp(solo.value))} as long"]


def _why(case: CaseReport) -> str:
    """Write the reason, the quantities it is about, and what weakens the figures."""
    about = [
        one.name for one in case.quantities if one.outcome == ("regression" if case.outcome == "regression" else None)
    ]
    text = _EXPLANATIONS.get(case.reason, case.reason) + (f" ({', '.join(about)})" if about else "")
    return "; ".join((text, *case.cautions))


def _percent(ratio: float) -> str:
    """Write a margin as it was set: ``5 %``, ``2.5 %``."""
    return f"{100 * ratio:.3g} %"


def _cell(text: str) -> str:
    """User text inside a Markdown table or sentence: no pipe, no line break, no markup."""
    plain = " ".join(text.split())
    for character in "\\`*_|<>[]":
        plain = plain.replace(character, f"\\{character}")
    return plain
