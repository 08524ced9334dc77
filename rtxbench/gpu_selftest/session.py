"""Run a GPU self-test within its time and put what it saw into a `Bundle`.

::

    recorder ──────────────────────────────────────────────────────────────►
      engines that see the card │ clock ramp │ arms alone, in turns │ precisions proven, kernels named

A part that fails or finds no time left says so; the others go on.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeVar

import rtxbench
from rtxbench.doctor.checks import examine
from rtxbench.doctor.installation import inspect_installation
from rtxbench.errors import RtxbenchError, UnavailableError
from rtxbench.gpu_selftest.bundle import Bundle, ClockRamp, Part, TurnTaking
from rtxbench.gpu_selftest.proving import Proven, prove
from rtxbench.gpu_selftest.request import GpuSelftestRequest
from rtxbench.gpu_selftest.watching import card_sensors, ramp_of, turns_of, two_arms
from rtxbench.hardware.environment import describe
from rtxbench.hardware.recorder import Recorder
from rtxbench.hardware.trace import trace_lines
from rtxbench.planning.engine_gpus import gpus_seen_by
from rtxbench.records import Case, Environment
from rtxbench.results.store import now
from rtxbench.units import format_duration
from rtxbench.workers.interpreters import why_engine_missing

__all__ = ["run_gpu_selftest"]

_Result = TypeVar("_Result")
_Ask = Callable[[str], int | str]


def run_gpu_selftest(request: GpuSelftestRequest, say: Callable[[str], None], ask: _Ask | None = None) -> Bundle:
    """Try every part, within the request's time.

    Args:
        request: what is tried.
        say: takes a line of progress.
        ask: returns the number of GPUs an engine sees, or why there is none; by default its worker is asked.

    Returns:
        What was seen; what could not be tried stands among its parts with the reason.
    """
    clock = _Clock(request.limit_s, say)
    asked = ask or (gpus_seen_by if request.kind == "gpu" else _on_cpu)
    environment = describe()
    doctor = tuple(f"{f.state}: {f.subject}: {f.what} {f.why}".strip() for f in examine(inspect_installation()))
    seen: dict[str, str] = {}
    ramp: ClockRamp | None = None
    turns: list[TurnTaking] = []
    proven = Proven((), ())
    with TemporaryDirectory(prefix="rtxbench-selftest-") as folder:
        path = Path(folder) / "selftest.trace.jsonl"
        with Recorder(path, watch_pids=()) as recorder:
            recorder.mark("start")
            able = clock.part("engines", lambda: _able_engines(request, environment, seen, asked)) or []
            watched = clock.part("clock ramp and turns", lambda: _watched(request, environment, able, recorder, clock))
            ramp, turns = watched or (None, [])
            recorder.mark("watched")
            cases = _cases(request, environment, able)
            proven = clock.part("precisions", lambda: prove(request, _some(cases), clock.left_s)) or proven
            recorder.mark("end")
        lines = trace_lines(path)
    return Bundle(
        rtxbench=rtxbench.__version__,
        started_at=now(),
        environment=environment,
        doctor=doctor,
        parts=tuple(clock.parts),
        engines=seen,
        ramp=ramp,
        turns=tuple(turns),
        proofs=proven.proofs,
        kernels=proven.kernels,
        trace=tuple(lines),
    )


class _Clock:
    """Runs parts while there is time, and keeps the end of each."""

    def __init__(self, limit_s: float, say: Callable[[str], None]) -> None:
        self._limit_s, self._say, self._began = limit_s, say, time.monotonic()
        self.parts: list[Part] = []

    @property
    def left_s(self) -> float:
        """Seconds until the limit; never less than one, so that what was begun may answer."""
        return max(1.0, self._began + self._limit_s - time.monotonic())

    def part(self, name: str, work: Callable[[], _Result]) -> _Result | None:
        """Run one part; ``None`` where it did not come through, for the reason kept in `parts`."""
        begun = time.monotonic()
        if begun - self._began > self._limit_s:
            reason = f"no time was left of {format_duration(self._limit_s)}"
            self._ended(name, begun, "skipped", reason)
            return None
        self._say(f"{name} …")
        try:
            result = work()
        except UnavailableError as error:
            self._ended(name, begun, "skipped", str(error))
            return None
        except RtxbenchError as error:
            self._ended(name, begun, "failed", str(error))
            return None
        self._ended(name, begun, "done", None)
        return result

    def _ended(self, name: str, begun: float, status: Literal["done", "failed", "skipped"], reason: str | None) -> None:
        self.parts.append(Part(name=name, status=status, took_s=time.monotonic() - begun, reason=reason))


def _able_engines(request: GpuSelftestRequest, environment: Environment, seen: dict[str, str], ask: _Ask) -> list[str]:
    """Engines that can compute on the device; fills in what each sees.

    Raises:
        UnavailableError: none can, or there is no device.
    """
    if request.kind == "gpu" and not environment.gpus:
        reason = environment.missing.get("gpus", "no NVIDIA GPU was found")
        seen |= dict.fromkeys(request.engines, reason)
        raise UnavailableError(f"{reason}.", next_step="Run it on a machine with an NVIDIA GPU.")
    able = []
    installed = [engine for engine in request.engines if why_engine_missing(engine) is None]
    with ThreadPoolExecutor(max(1, len(installed))) as pool:
        answers: Mapping[str, int | str] = dict(zip(installed, pool.map(ask, installed), strict=True))
    for engine in request.engines:
        answer = answers.get(engine, why_engine_missing(engine) or "")
        seen[engine] = answer if isinstance(answer, str) else f"sees {answer} {request.kind.upper()}"
        able += [engine] if not isinstance(answer, str) else []
    if not able:
        raise UnavailableError("no engine can compute on the GPU.", next_step="Run `rtxbench doctor`.")
    return able


def _on_cpu(_engine: str) -> int:
    return 1


def _watched(
    request: GpuSelftestRequest, environment: Environment, able: Sequence[str], recorder: Recorder, clock: _Clock
) -> tuple[ClockRamp | None, list[TurnTaking]]:
    """Record the ramp and the turns, on the first engine that can.

    Raises:
        RtxbenchError: the arms could not be built; a ramp that cannot be had is a part of its own.
    """
    with two_arms(request, _first(able), recorder) as arms:
        device = environment.gpus[0].uuid if environment.gpus else "host"

        def ramp() -> ClockRamp:
            with card_sensors(device) as sensors:
                return ramp_of(arms, device, sensors, request)

        found = clock.part("clock ramp", ramp)
        recorder.mark("turns")
        return found, turns_of(arms, device, request)


def _first(engines: Sequence[str]) -> str:
    """Return the engine that starts fastest among those that can.

    Raises:
        UnavailableError: none can.
    """
    for engine in ("jax", "torch", "tensorflow"):
        if engine in engines:
            return engine
    raise UnavailableError("no engine can compute on it.", next_step="See the part `engines`.")


def _cases(request: GpuSelftestRequest, environment: Environment, able: Sequence[str]) -> list[Case]:
    capability = environment.gpus[0].compute_capability if environment.gpus else None
    known = None if capability is None else float(capability)
    return [request.case(engine, name) for engine in able for name in request.precisions(engine, known)]


def _some(cases: Sequence[Case]) -> Sequence[Case]:
    if not cases:
        raise UnavailableError("no engine can compute on it.", next_step="See the part `engines`.")
    return cases
