"""The quick form of every self-test: ``rtxbench selftest`` asks them all and says in a few lines what holds here."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from rtxbench.errors import RtxbenchError, UnavailableError
from rtxbench.units import format_bytes, format_percent

__all__ = ["PROMISES", "Held", "Promise", "ask"]

_MUTANTS: Final = 1_000
_READ_MUTANTS: Final = 25
_KILLS: Final = 6
_VERDICTS: Final = 400
_GATES: Final = 150
_POISONED: Final = 2
_SIZES: Final = (1_000, 8_000)
_MOST_GROWTH: Final = 1.5
"""Of the time per record, where it should not grow at all: the quick form is short and the machine perhaps busy."""


class Held(NamedTuple):
    """Answer to a promise: does it hold here, and the figures in a sentence."""

    holds: bool | None
    """``None`` where it could not be tried here."""
    sentence: str


def ask(promise: "Promise") -> Held:
    """Ask after a promise; one that cannot even be tried because a command refuses to work is broken."""
    try:
        return promise.ask()
    except RtxbenchError as error:
        return Held(False, error.message)


class Promise(NamedTuple):
    """A promise of rtxbench, its trial, and the command of the long form."""

    title: str
    ask: Callable[[], Held]
    long_form: str


def _loader() -> Held:
    from rtxbench.robustness.readers import send_mutants

    outcome = send_mutants(range(_MUTANTS), ["load"], most_lines=4)
    refused = outcome.refused.get("load", 0)
    return Held(not outcome.faults, f"{_MUTANTS} mutated files: {refused} refused, {len(outcome.faults)} faults")


def _readers() -> Held:
    from rtxbench.robustness.readers import READERS, send_mutants

    outcome = send_mutants(range(_READ_MUTANTS), READERS, most_lines=25)
    return Held(
        not outcome.faults, f"{_READ_MUTANTS} mutants through {len(READERS)} readers: {len(outcome.faults)} faults"
    )


def _kills() -> Held:
    from rtxbench.robustness.kills import kill_trials

    trials = list(kill_trials(range(_KILLS), ["trace", "merge", "report"]))
    bad = [problem for trial in trials for problem in trial.problems]
    hit = sum(bool(trial.signals) for trial in trials)
    return Held(not bad, f"{hit} commands killed: {bad[0] if bad else 'nothing lost, nobody left behind'}")


def _browser() -> Held:
    from rtxbench.robustness.payloads import find_browser, open_poisoned
    from rtxbench.robustness.readers import write_page

    try:
        browser = find_browser()
    except UnavailableError as error:
        return Held(None, f"not tried: {error.message}")
    opened = open_poisoned(range(_POISONED), write_page, browser)
    return Held(
        not opened.executed, f"{opened.payloads} payloads in {opened.pages} pages: {len(opened.executed)} executed"
    )


def _load() -> Held:
    from rtxbench.robustness.load import load_curve

    with tempfile.TemporaryDirectory(prefix="rtxbench-load-") as folder:
        small, large = load_curve(_SIZES, ["claims"], Path(folder))
    growth = large.cpu_s / small.cpu_s / (large.records / small.records)
    sentence = (
        f"judging {small.records:,} and {large.records:,} made-up records took {small.cpu_s:.1f} s and "
        f"{large.cpu_s:.1f} s of processor time, {format_bytes(large.peak_bytes)} at most"
    )
    return Held(growth <= _MOST_GROWTH, sentence)


def _verdicts() -> Held:
    import numpy as np

    from rtxbench.verdicts.statistics.simulation import CLAIMED_RATIO, EDITIONS, VERDICT_REGIMES, verdict_rates

    regime = next(one for one in VERDICT_REGIMES if one.name == "records")
    rule, generator = list(EDITIONS)[1], np.random.default_rng(1)
    at_line = verdict_rates(regime, rule, CLAIMED_RATIO, _VERDICTS, generator).supported
    slower = verdict_rates(regime, rule, 0.9, _VERDICTS, generator).refuted
    refuted = f"{format_percent(slower.value, 0)} of 0.9× refuted"
    sentence = f"simulated, noise as on record: {format_percent(at_line.value)} false support, {refuted}"
    return Held((at_line.low or 0) <= 0.025 and (slower.high or 0) >= 0.9, sentence)


def _gate() -> Held:
    import numpy as np

    from rtxbench.gate.statistics.noise import REGIMES
    from rtxbench.gate.statistics.operating_characteristics import gate_rates

    generator = np.random.default_rng(1)
    unchanged = gate_rates(REGIMES[0], 0.0, _GATES, generator).regression
    slower = gate_rates(REGIMES[0], 0.05, _GATES, generator).regression
    found = f"{format_percent(slower.value, 0)} of 5 % found"
    sentence = f"simulated, {REGIMES[0].name}: {format_percent(unchanged.value)} false alarms, {found}"
    return Held((unchanged.low or 0) <= 0.01 and (slower.high or 0) >= 0.95, sentence)


PROMISES: Final = (
    Promise(
        "A stranger's file is read or refused",
        _loader,
        "rtxbench selftest hostile --reader load --mutants 1000000 --lines 4",
    ),
    Promise("No reader breaks on what it reads", _readers, "rtxbench selftest hostile --mutants 5000"),
    Promise("A killed command loses nothing", _kills, "rtxbench selftest kills --kills 1000"),
    Promise("Nothing that a stranger wrote runs in a browser", _browser, "rtxbench selftest payloads --files 300"),
    Promise("Load grows in proportion to the records", _load, "rtxbench selftest load"),
    Promise("Verdicts are rarely false", _verdicts, "rtxbench selftest statistics"),
    Promise("The gate finds 5 % and cries no wolf", _gate, "rtxbench selftest gate"),
)
"""Promises that ``rtxbench selftest`` asks after, in this order."""
