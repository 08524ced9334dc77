"""Write a gate's records as it goes: each launch when it is finished, each case when it is decided.

Everything is an `Observation` in an ordinary results file, so that the report, ``rtxbench merge`` and pandas read it
like any other result:

===================  ==========  =======================================================================
topic                metric      values
===================  ==========  =======================================================================
gate-launch          step_time_s seconds per step of every block, rounds × (baseline 2, candidate 2)
gate                 log_ratio   ln(candidate ÷ baseline) of step time, one per launch
===================  ==========  =======================================================================

Peak memory and first step have lines of their own beside it (``peak_memory_log_ratio``, ``first_step_log_ratio``).
"""

import os
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from rtxbench import __version__
from rtxbench.gate.session import CaseResult, GateLaunch, ProcessPair, step_times_s
from rtxbench.gate.statistics.evidence import anytime_estimate
from rtxbench.records import GATE_TOPIC, SCHEMA_VERSION, Environment, Estimate, Observation, Run
from rtxbench.results.store import RunWriter, disk_errors
from rtxbench.units import format_percent

__all__ = [
    "NOTHING",
    "Planting",
    "append_history",
    "case_observations",
    "launch_observation",
    "now",
    "open_journal",
    "planted_in",
]

_SIGNIFICANT_DIGITS: Final = 7
_METRICS: Final = {
    "step time": "log_ratio",
    "peak memory": "peak_memory_log_ratio",
    "first step": "first_step_log_ratio",
}


class Planting(NamedTuple):
    """An increase of one quantity.

    Of step time by step duplication, of peak memory by bytes held at the peak, of the first step by waiting in it.
    """

    quantity: str = "step time"
    ratio: float = 0.0

    @property
    def text(self) -> str:
        """``none``, ``5 %``, ``5 % peak memory``."""
        if not self.ratio:
            return "none"
        share = format_percent(self.ratio, 0)
        return share if self.quantity == "step time" else f"{share} {self.quantity}"


NOTHING: Final = Planting()


def planted_in(observation: Observation) -> Planting:
    """Read from a self-test's record what was planted; before there was a choice, it was step time."""
    labels = observation.labels
    return Planting(labels.get("planted_quantity", "step time"), float(labels["planted_ratio"]))


def now() -> str:
    """Return this instant in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def open_journal(results_dir: Path, environment: Environment, profile: str, name: str | None = None) -> RunWriter:
    """Start a results file, or go on with the one of that name on this machine.

    Raises:
        MeasurementError: the disk is full or the folder cannot be written.
        RecordError: the file of that name is not a results file.
    """
    _ignore_by_git(results_dir)
    run_id = name or f"{profile}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
    path = results_dir / environment.machine / f"{run_id}.jsonl"
    if path.exists():
        return RunWriter.resume(path)
    run = Run(
        schema_version=SCHEMA_VERSION,
        run_id=run_id,
        started_at=now(),
        monotonic_ns=time.monotonic_ns(),
        realtime_ns=time.time_ns(),
        environment=environment,
        command=(os.path.basename(sys.argv[0]), *sys.argv[1:]),  # noqa: PTH119 (the name alone, no path of this user)
        profile=profile,
        rtxbench_version=__version__,
    )
    return RunWriter(results_dir, run)


def _ignore_by_git(results_dir: Path) -> None:
    """Records under ``.rtxbench`` are the machine's own: they must not make the gated tree dirty."""
    home = next((path for path in (results_dir, *results_dir.parents) if path.name == ".rtxbench"), None)
    if home is not None and not (home / ".gitignore").exists():
        with disk_errors(home):
            home.mkdir(parents=True, exist_ok=True)
            (home / ".gitignore").write_text("*\n")


def launch_observation(run: Run, launch: GateLaunch, topic: str, labels: Mapping[str, str]) -> Observation:
    """Record one launch with every block's step time, so that other rules can be replayed on the same data.

    Args:
        run: the results file's header.
        launch: as measured.
        topic: which kind of gate it belongs to: what readers filter by.
        labels: added to the launch's own.

    Returns:
        Seconds per step to seven digits; shape (rounds of all pairs, 2 arms, 2 blocks), flat.
    """
    times = np.concatenate(
        [np.stack([step_times_s(pair.baseline), step_times_s(pair.candidate)], axis=1) for pair in launch.pairs]
    )
    return Observation(
        record_id=uuid.uuid4().hex,
        run_id=run.run_id,
        topic=topic,
        metric="step_time_s",
        values=tuple(float(f"{value:.{_SIGNIFICANT_DIGITS}g}") for value in times.ravel()),
        replicate="block",
        finished_at=now(),
        estimate=Estimate(value=launch.log_ratio, low=None, high=None, n=1),
        labels={
            "case": launch.case,
            "launch": str(launch.number),
            **({"machine": launch.machine} if launch.machine else {}),
            "rounds": str(len(times)),
            "rounds_per_pair": " ".join(str(len(pair.baseline.blocks_ns) // 2) for pair in launch.pairs),
            "baseline_steps_per_block": str(launch.pairs[0].baseline.steps_per_block),
            "candidate_steps_per_block": str(launch.pairs[0].candidate.steps_per_block),
            **_other_figures(launch.pairs[0]),
            "warmup_ok": str(all(one.warmup_ok for pair in launch.pairs for one in pair[1:])).lower(),
            **labels,
        },
        flags=launch.flags,
    )


def case_observations(
    run: Run, result: CaseResult, labels: Mapping[str, str], topic: str = GATE_TOPIC
) -> list[Observation]:
    """Record one decided case, a line per quantity; none where no launch was finished.

    Args:
        run: the results file's header.
        result: the outcome and its launches; the values are their log-ratios.
        labels: added to the case's own: the commits, for example.
        topic: which kind of gate it belongs to: what readers filter by.
    """
    if not result.launches:
        return []
    return [
        Observation(
            record_id=uuid.uuid4().hex,
            run_id=run.run_id,
            topic=topic,
            metric=_METRICS[name],
            values=values,
            replicate="launch",
            finished_at=now(),
            estimate=anytime_estimate(values, machines=result.machines),
            labels={
                "case": result.case,
                "outcome": result.outcome,
                "reason": result.reason,
                "launches": str(len(result.launches)),
                "margin_ratio": repr(result.margins[name]),
                **labels,
            },
        )
        for name, values in result.log_ratios.items()
    ]


def _other_figures(pair: ProcessPair) -> dict[str, str]:
    """List what else a pair of processes measured of each arm, for readers of the records."""
    arms = {"baseline": pair.baseline, "candidate": pair.candidate}
    return {f"{arm}_first_step_s": f"{one.first_step_s:.4g}" for arm, one in arms.items()} | {
        f"{arm}_peak_memory_bytes": str(one.peak_memory_bytes) for arm, one in arms.items() if one.peak_memory_bytes
    }


def append_history(
    results_dir: Path, environment: Environment, results: Sequence[CaseResult], labels: Mapping[str, str]
) -> Path:
    """Add one line per decided case to this machine's ``gate-history.jsonl``.

    Raises:
        MeasurementError: the disk is full or the folder cannot be written.
    """
    with open_journal(results_dir, environment, "gate", name="gate-history") as writer:
        for result in results:
            for line in case_observations(writer.run, result, labels):
                writer.append(line)
        return writer.path
