"""Show measured cases in pytest: exact device times in pytest-benchmark's own table, verdicts below it."""

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from rtxbench.records import CaseRecord, RatioRecord

__all__ = ["VIRTUAL_CLOCK", "as_pytest_ends", "replay_durations", "replay_record", "verdict_lines"]


class _VirtualClock:
    """A clock that stands still until a replayed duration is added."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def __call__(self) -> float:
        return self._now_s

    def advance(self, duration_s: float) -> None:
        """Let ``duration_s`` seconds pass."""
        self._now_s += duration_s


VIRTUAL_CLOCK: Final = _VirtualClock()


def replay_record(benchmark: Any, record: "CaseRecord", ratio: "RatioRecord | None") -> None:
    """Give pytest-benchmark the measured seconds per step of every block, and the figures it has no column for."""
    assert record.measurement is not None
    benchmark.extra_info.update(_extra_info(record, ratio))
    replay_durations(
        benchmark,
        [
            (end - start) / 1e9 / launch.steps_per_block
            for launch in record.measurement.launches
            for start, end in launch.blocks_ns
        ],
    )


def replay_durations(benchmark: Any, durations_s: Sequence[float]) -> None:
    """Let pytest-benchmark time these seconds, one round each, on a clock that stands still in between."""
    left = iter(durations_s)
    benchmark.pedantic(lambda: VIRTUAL_CLOCK.advance(next(left)), rounds=len(durations_s), iterations=1)


def _extra_info(record: "CaseRecord", ratio: "RatioRecord | None") -> dict[str, str | float | int | bool | None]:
    assert record.measurement is not None
    throughput = record.measurement.throughput_per_s
    return {
        "record_id": record.record_id,
        "run_id": record.run_id,
        "case": record.case.label,
        "launches": throughput.n,
        "throughput_per_s": throughput.value,
        "throughput_low_per_s": throughput.low,
        "throughput_high_per_s": throughput.high,
        "warmup_ok": record.measurement.warmup_ok,
        "ratio": ratio.ratio.value if ratio else None,
        "ratio_low": ratio.ratio.low if ratio else None,
        "ratio_high": ratio.ratio.high if ratio else None,
    }


def verdict_lines(path: Path) -> Iterator[str]:
    """Yield the verdicts on what was run in that file, as wide as the terminal; what was not asked is left out."""
    from shutil import get_terminal_size
    from textwrap import wrap

    from rtxbench.results.store import load_run
    from rtxbench.verdicts.claims import load_claims
    from rtxbench.verdicts.judge import judge

    width = max(60, get_terminal_size().columns)
    run = load_run(path)
    asked = [getattr(record, "group", "").split("/")[0] or getattr(record, "topic", "") for record in run.records]
    mine = {record.record_id for record in run.records} | set(asked)
    yield ""
    for verdict in judge([run], load_claims()):
        if not verdict.subject and (mine & {verdict.claim, *verdict.evidence}):
            text = f"{verdict.claim:<16} {verdict.state:<13} {verdict.explanation}"
            yield from wrap(text, width, subsequent_indent=" " * 31, drop_whitespace=True)


def as_pytest_ends(number: int) -> BaseException:
    """Return what ends a pytest run in order, as a signal asks it to."""
    if number == signal.SIGINT:
        return KeyboardInterrupt()
    return pytest.exit.Exception(f"ended by {signal.Signals(number).name}", returncode=128 + number)
