"""What a gate says: one frozen value, rendered for a terminal, a pull request or a program."""

import math
from typing import TYPE_CHECKING, Literal

import msgspec

from rtxbench.gate.decision import EXIT_CODES, GateOutcome, combined_outcome
from rtxbench.gate.records import case_estimate
from rtxbench.gate.session import CaseResult
from rtxbench.records import Estimate
from rtxbench.stats import launch_estimate, smallest_effect
from rtxbench.units import format_duration, format_percent, format_ratio

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["CaseReport", "GateReport", "as_ratio", "describe_change", "gate_report", "render_markdown", "render_table"]

_EXPLANATIONS = {
    "upper-bound-below-margin": "any slow-down is below the margin",
    "confirmed-on-fresh-launches": "slower, and confirmed on fresh launches",
    "not-confirmed-on-fresh-launches": "looked slower at first; fresh launches did not confirm it",
    "suspected-but-not-confirmed": "looked slower at first; fresh launches are too noisy to say",
    "noise-too-large-for-margin": "the machine is too noisy for this margin",
    "budget-spent": "the time budget was spent before a decision",
}
_SYMBOLS: dict[str, str] = {"pass": "✅", "regression": "❌", "inconclusive": "⚠️", "error": "💥"}


class CaseReport(msgspec.Struct, frozen=True, kw_only=True):
    """One case as the gate saw it. Ratios are step time, candidate ÷ baseline: above 1 the candidate is slower."""

    case: str
    outcome: GateOutcome
    reason: str
    step_time_ratio: Estimate | None
    smallest_effect_ratio: float | None
    """Smallest slow-down these launches could have seen with 95 % power; ``None`` below three launches."""
    launches: int
    screen_log_ratios: tuple[float, ...]
    confirm_log_ratios: tuple[float, ...]
    cautions: tuple[str, ...] = ()


class GateReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a reader or a program needs to act on."""

    outcome: GateOutcome | Literal["error"]
    exit_code: int
    baseline: str
    candidate: str
    margin_ratio: float
    machine: str
    duration_s: float
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
    )


def render_markdown(report: GateReport) -> str:
    """A summary for a pull request."""
    lines = [
        f"### {_SYMBOLS[report.outcome]} Throughput gate: {report.outcome}",
        "",
        f"Candidate {_cell(report.candidate)} against baseline {_cell(report.baseline)}; "
        f"a slow-down of {format_percent(report.margin_ratio, 0)} must not go through.",
    ]
    if report.error:
        lines += ["", "```text", report.error.replace("```", "'''"), "```"]
    if report.cases:
        lines += ["", "| case | outcome | step time, 90 % interval | launches | why |", "|---|---|---|---|---|"]
    for case in report.cases:
        change = _cell(describe_change(case.step_time_ratio))
        why = _cell(_why(case))
        symbol = _SYMBOLS[case.outcome]
        lines.append(f"| `{case.case}` | {symbol} {case.outcome} | {change} | {case.launches} | {why} |")
    lines += ["", f"<sub>measured on `{report.machine}` in {format_duration(report.duration_s)}; {_NOTE}</sub>", ""]
    return "\n".join(lines)


_NOTE = "both arms interleaved on one machine, the process launch as error unit, failures confirmed on fresh launches"


def render_table(report: GateReport) -> "RenderableType":
    """The same for a terminal (rich): a table that fits 80 columns, then the reasons."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    colours = {"pass": "green", "regression": "red", "inconclusive": "yellow", "error": "red"}
    title = Text(f"throughput gate: {report.outcome}", style=f"bold {colours[report.outcome]}")
    table = Table(title=title, title_justify="left")
    table.add_column("case", overflow="fold")
    for heading in ("outcome", "step time (90 % interval)", "launches"):
        table.add_column(heading, no_wrap=True)
    reasons = []
    for case in report.cases:
        outcome = Text(case.outcome, style=colours[case.outcome])
        table.add_row(case.case, outcome, describe_change(case.step_time_ratio), str(case.launches))
        reasons.append(Text(f"{case.case}: {_why(case)}"))
    return Group(table, *reasons)


def describe_change(ratio: Estimate | None) -> str:
    """``+5.1 % (+4.2 … +6.0 %)``: change of step time; positive is slower."""
    if ratio is None:
        return "not measured"
    if ratio.low is None or ratio.high is None:
        return f"{100 * (ratio.value - 1):+.1f} % (one launch)"
    low, high = (100 * (bound - 1) for bound in (ratio.low, ratio.high))
    return f"{100 * (ratio.value - 1):+.1f} % ({low:+.1f} … {high:+.1f} %)"


def _case_report(result: CaseResult) -> CaseReport:
    return CaseReport(
        case=result.case,
        outcome=result.outcome,
        reason=result.reason,
        step_time_ratio=as_ratio(case_estimate(result)),
        smallest_effect_ratio=smallest_effect(result.state.confirmed or result.state.screened),
        launches=len(result.launches),
        screen_log_ratios=result.state.screened,
        confirm_log_ratios=result.state.confirmed,
        cautions=_cautions(result),
    )


def as_ratio(log: Estimate | None) -> Estimate | None:
    """A log-ratio and its interval as a ratio (1.05: 5 % slower). ``None`` stays ``None``."""
    if log is None:
        return None
    low, high = (None if bound is None else math.exp(bound) for bound in (log.low, log.high))
    return Estimate(value=math.exp(log.value), low=low, high=high, n=log.n, confidence=log.confidence)


def _cautions(result: CaseResult) -> tuple[str, ...]:
    """List what weakens the figure without voiding it, each said once."""
    cold = sum(not (launch.baseline.warmup_ok and launch.candidate.warmup_ok) for launch in result.launches)
    found = [f"no steady state before the cap in {cold} of {len(result.launches)} launches"] if cold else []
    found += _interference(result)
    codes = sorted({flag.code for launch in result.launches for flag in launch.flags})
    return (*found, *([f"environment: {', '.join(codes)}"] if codes else []))


def _interference(result: CaseResult) -> list[str]:
    """Does the baseline alone run at another speed than interleaved? Only said where the launches agree on it."""
    logs = [math.log(launch.baseline.solo_ratio) for launch in result.launches if launch.baseline.solo_ratio]
    solo = launch_estimate(logs) if len(logs) > 1 else None
    if solo is None or solo.low is None or solo.high is None or not (solo.low > 0.01 or solo.high < -0.01):
        return []
    return [f"interference: alone the baseline's step takes {format_ratio(math.exp(solo.value))} as long"]


def _why(case: CaseReport) -> str:
    """The reason, what these launches could have seen, and what weakens them."""
    effect = case.smallest_effect_ratio
    sight = () if effect is None else (f"{format_percent(effect)} would be seen with 95 % power",)
    return "; ".join((_EXPLANATIONS.get(case.reason, case.reason), *sight, *case.cautions))


def _cell(text: str) -> str:
    """User text inside a Markdown table or sentence: no pipe, no line break, no markup."""
    plain = " ".join(text.split())
    for character in "\\`*_|<>[]":
        plain = plain.replace(character, f"\\{character}")
    return plain
