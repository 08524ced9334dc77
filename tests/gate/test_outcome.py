"""How an outcome reads: golden Markdown, escaping, terminal table; and the parsing of what people type."""

import io
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtxbench.errors import MeasurementError, UsageError
from rtxbench.gate import runner, settings
from rtxbench.gate.outcome import (
    CaseReport,
    GateReport,
    QuantityReport,
    describe_change,
    render_markdown,
    render_table,
)
from rtxbench.gate.records import NOTHING, Planting
from rtxbench.gate.statistics.decision import PASS_EVIDENCE, decide
from rtxbench.gate.statistics.evidence import anytime_estimate
from rtxbench.records import Estimate

GOLDEN = Path(__file__).parents[1] / "golden" / "gate.md"


def quantity(name: str, outcome: str | None, value: float) -> QuantityReport:
    """One quantity with an interval of ±1 %."""
    return QuantityReport(
        name=name,
        outcome=outcome,  # type: ignore[arg-type]
        margin_ratio=0.05,
        ratio=Estimate(value=value, low=value - 0.01, high=value + 0.01, n=5, confidence=0.9),
        log_ratios=(0.0,) * 3,
    )


def case(name: str, outcome: str, reason: str, value: float, launches: int) -> CaseReport:
    """One case whose step time decides and whose memory did not change."""
    return CaseReport(
        case=name,
        outcome=outcome,  # type: ignore[arg-type]
        reason=reason,
        launches=launches,
        quantities=(
            quantity("step time", None if outcome == "inconclusive" else outcome, value),
            quantity("peak memory", "pass", 1.0),
        ),
        cautions=("while measuring, another guest of this host took CPU time",) if outcome == "inconclusive" else (),
    )


def full_report() -> GateReport:
    """Every outcome a case can have."""
    return GateReport(
        outcome="regression",
        exit_code=1,
        baseline="origin/main...HEAD (0123456789)",
        candidate=". (9876543210 + uncommitted changes)",
        margin_ratio=0.05,
        machine="test-cpu-abc",
        duration_s=154.0,
        notes=("the candidate asks for a step time margin of 50 %; the baseline's 5 % holds",),
        cases=(
            case("train.steps:resnet", "regression", "evidence-of-slow-down", 1.061, 5),
            case("train.steps:mlp", "pass", "margin-excluded", 0.998, 4),
            case("train.steps:bert", "inconclusive", "noise-too-large-for-margin", 1.02, 16),
        ),
    )


def test_markdown_is_golden() -> None:
    """The pull request's summary, word for word."""
    assert render_markdown(full_report()) == GOLDEN.read_text(encoding="utf-8")


def test_markdown_cannot_be_broken_by_names() -> None:
    """A branch called after table markup, a link or HTML stays text, and an error cannot close its fence."""
    hostile = "x | <img src=x> [a](http://b) `c`\nd"
    text = render_markdown(
        GateReport(
            outcome="error",
            exit_code=4,
            baseline=hostile,
            candidate=hostile,
            margin_ratio=0.05,
            machine="m",
            duration_s=1.0,
            error="boom\n```\n# a heading of the attacker",
        )
    )
    assert "<img" not in text.replace("\\<img", "")
    assert text.count("```") == 2


def test_table_names_every_case() -> None:
    """The terminal's table has outcome, change and reason of each case."""
    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=200).print(render_table(full_report()))
    for words in (
        "train.steps:resnet",
        "+6.1 % (+5.1 … +7.1 %)",
        "too noisy for this margin",
        "while measuring, another guest of this host took CPU time",
    ):
        assert words in stream.getvalue()


def test_the_interval_shown_is_the_one_that_decided() -> None:
    """The upper end of the interval shown is the bound a pass was decided on: at the margin both tip together."""
    ratios = (0.004, 0.011, 0.018, 0.009)
    shown = anytime_estimate(ratios, PASS_EVIDENCE)
    assert shown.high is not None
    assert decide(ratios, math.expm1(shown.high + 1e-4)).outcome == "pass"
    assert decide(ratios, math.expm1(shown.high - 1e-4)).outcome is None


def test_change_without_interval_says_so() -> None:
    """One launch has no interval, and no launch no figure; neither is written as zero."""
    assert describe_change(None) == "not measured"
    assert describe_change(Estimate(value=1.03, low=None, high=None, n=1)) == "+3.0 % (one launch)"


@pytest.mark.parametrize(("text", "ratio"), [("5%", 0.05), ("0.05", 0.05), (" 2.5 % ", 0.025), ("50%", 0.5)])
def test_margins_people_write(text: str, ratio: float) -> None:
    """Per cent and ratios are understood."""
    assert settings.parse_ratio(text) == pytest.approx(ratio)


@pytest.mark.parametrize("text", ["", "5", "5 percent", "-5%", "0", "0.1%", "nan", "60%"])
def test_margins_that_make_no_sense(text: str) -> None:
    """A bare 5 would be 500 %: refused rather than guessed."""
    with pytest.raises(UsageError, match="no margin"):
        settings.parse_ratio(text)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("10 min", 600), ("1.5h", 5400), ("45", 45)])
def test_durations_people_write(text: str, seconds: float) -> None:
    """Seconds, minutes and hours are understood."""
    assert settings.parse_duration_s(text) == seconds


@given(st.text(max_size=8))
def test_parsers_answer_or_refuse(text: str) -> None:
    """Nothing typed ends in another exception than a usage error."""
    for parse in (settings.parse_ratio, settings.parse_duration_s):
        try:
            assert parse(text) > 0
        except UsageError as error:
            assert error.next_step


def test_plan_of_a_selftest() -> None:
    """A plain number is unplanted, ``5%=10`` is planted; nonsense is refused."""
    memory = Planting("peak memory", 0.05)
    slow = Planting("step time", 0.05)
    assert runner.parse_plan(["20", "5%=10", "0%=3", "peak-memory=5%=2"]) == {NOTHING: 3, slow: 10, memory: 2}
    with pytest.raises(UsageError, match="no number of gates"):
        runner.parse_plan(["5%=many"])
    with pytest.raises(UsageError, match="no number of gates"):
        runner.parse_plan(["²"])  # a digit for str.isdigit, none for int


def test_writing_replaces_whole_files(tmp_path: Path) -> None:
    """A write that fails leaves the old file and nothing half-written."""
    path = tmp_path / "out.json"
    runner.write_text(path, "old")
    with pytest.raises(MeasurementError, match="cannot write"):
        runner.write_text(tmp_path / "out.json" / "below", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]
    assert path.read_text() == "old"
