"""Is the recorder on time while every core is busy? Target: 95 % of samples within 10 ms of their 100 ms grid.

Run with ``pytest bench/bench_recorder.py --benchmark-only --harness``; the table shows the time between samples.
"""

import multiprocessing
import os
import time

import numpy as np
import pytest

from rtxbench.hardware.recorder import Recorder
from rtxbench.hardware.trace import HOST, load_trace
from rtxbench.measure.session import Session
from rtxbench.pytest_plugin import VIRTUAL_CLOCK
from rtxbench.records import Observation
from rtxbench.results.store import new_record_id, now

pytestmark = pytest.mark.harness
RECORDED_S = 20


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@pytest.mark.benchmark(group="harness/recorder", timer=VIRTUAL_CLOCK)
def test_samples_come_on_time_while_every_core_is_busy(bench_session: Session, benchmark, tmp_path) -> None:
    """Jitter of 20 s at 100 ms beside one spinning process per core, and the recorder's share of a core."""
    context = multiprocessing.get_context("spawn")
    with Recorder(tmp_path / "jitter.trace.jsonl", interval_s=0.1) as recorder:
        workers = [context.Process(target=spin, args=(RECORDED_S,)) for _ in range(os.cpu_count() or 1)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert recorder.alive
    trace = load_trace(recorder.path)
    series = trace.get(HOST, "cpu_utilization_ratio")
    assert series is not None
    assert trace.end is not None
    steps_s = np.diff(series.times_ns) / 1e9
    jitter_s = np.abs(steps_s - trace.header.interval_s)
    for metric, values in (
        ("sampling_jitter_s", tuple(map(float, jitter_s))),
        ("recorder_core_ratio", (trace.end.cpu_s / trace.end.elapsed_s,)),
    ):
        bench_session.append(
            Observation(
                record_id=new_record_id(),
                run_id=bench_session.run_id,
                topic="overhead",
                purpose="harness",
                metric=metric,
                values=values,
                replicate="sample",
                finished_at=now(),
            )
        )
    durations = iter(steps_s)
    benchmark.extra_info.update(
        jitter_p95_s=float(np.percentile(jitter_s, 95)), missed=trace.end.missed, target_s=0.010
    )
    benchmark.pedantic(lambda: VIRTUAL_CLOCK.advance(float(next(durations))), rounds=len(steps_s), iterations=1)
    print(f"jitter p50 {np.median(jitter_s) * 1e3:.2f} ms, p95 {np.percentile(jitter_s, 95) * 1e3:.2f} ms")
    print(f"recorder: {trace.end.cpu_s / trace.end.elapsed_s:.2%} of one core, {trace.end.missed} samples skipped")
