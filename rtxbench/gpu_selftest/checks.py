"""Hold what rtxbench assumes of cards against a bundle: one function and one row in `CHECKS` per assumption."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final, Literal, NamedTuple

import numpy as np

from rtxbench.diagnosis.kernels import kernel_shares
from rtxbench.gpu_selftest.bundle import Bundle, CardSample, ClockRamp
from rtxbench.hardware.flags import window_flags
from rtxbench.hardware.trace import HOST, summarize
from rtxbench.hardware.windows import AVERAGED_OVER_S
from rtxbench.measure.paired.live_arm import GPU_LEAD_IN_S
from rtxbench.precision import precision_named, why_unproven
from rtxbench.units import format_bytes, format_duration, format_percent

__all__ = ["CHECKS", "Checked", "check_bundle", "checks_text"]

_RAMP_SHARE: Final = 0.95
"""Of the clock under work: the ramp is over there."""
_ACTIVITY_GAP: Final = 0.08
"""Between an arm's Tensor activity alone and in turns: reads of a tenth of a second scatter by half of it."""
_PLAN_EXCESS: Final = 1.2
"""A peak above this × its plan means that arms the plan lets on the card together may not fit."""
_FLOAT32_MATRIX_TIME: Final = 0.05
_REDUCED_MATRIX_TIME: Final = 0.2
"""mlp-wide is all products: in reduced precision most of its time is theirs."""
_NEEDED_SENSORS: Final = ("utilization", "sm_clock", "event_reasons", "temperature", "memory")

State = Literal["holds", "broken", "unknown"]


class Checked(NamedTuple):
    """One assumption: whether it holds, and the figures in a sentence; of ``unknown`` the reason."""

    name: str
    state: State
    sentence: str


def check_bundle(bundle: Bundle) -> list[Checked]:
    """Hold every assumption against what was seen."""
    return [Checked(name, *check(bundle)) for name, check in CHECKS.items()]


_Answer = tuple[State, str]


def _sensors(bundle: Bundle) -> _Answer:
    trace = bundle.recording()
    if trace is None or not trace.header.gpus:
        return "unknown", (trace.header.gpu_missing if trace else None) or "nothing was recorded"
    probes = [probe for probe in trace.probes if probe.device != HOST]
    silent = [f"{probe.sensor} ({probe.reason})" for probe in probes if probe.error_code is not None]
    lost = [probe.sensor for probe in probes if probe.error_code is not None and probe.sensor in _NEEDED_SENSORS]
    sentence = f"{len(probes) - len(silent)} of {len(probes)} sensors answer"
    return "broken" if lost else "holds", f"{sentence}; silent: {', '.join(silent)}" if silent else sentence


def _ramp(bundle: Bundle) -> _Answer:
    ramp = bundle.ramp
    seconds = None if ramp is None else _rise_s(ramp, lambda sample: sample.sm_clock_hz, _RAMP_SHARE)
    if seconds is None:
        return "unknown", _why(bundle, "clock ramp")
    sentence = f"the clock is up {format_duration(seconds)} after idleness; an arm is led in for {GPU_LEAD_IN_S} s"
    return "holds" if seconds <= GPU_LEAD_IN_S else "broken", sentence


def _utilisation_window(bundle: Bundle) -> _Answer:
    ramp = bundle.ramp
    seconds = None if ramp is None else _rise_s(ramp, lambda sample: sample.gpu_utilization_ratio, 0.9)
    assumed_s = AVERAGED_OVER_S["gpu_utilization_ratio"] or 0.0
    if seconds is None:
        return "unknown", _why(bundle, "clock ramp")
    sentence = f"utilisation follows work within {format_duration(seconds)}; {assumed_s:g} s are assumed"
    return "holds" if seconds <= assumed_s * 1.1 else "broken", sentence


def _rise_s(ramp: ClockRamp, value: Callable[[CardSample], float | None], share: float) -> float | None:
    """Time from the work's start until a reading reaches that share of its level in the work's second half."""
    working = [(s.t, v) for s in ramp.samples if ramp.start_ns <= s.t <= ramp.end_ns and (v := value(s)) is not None]
    middle_ns = (ramp.start_ns + ramp.end_ns) / 2
    settled = [v for t, v in working if t >= middle_ns]
    if not settled or float(np.median(settled)) <= 0:
        return None
    level = share * float(np.median(settled))
    return next(((t - ramp.start_ns) / 1e9 for t, v in working if v >= level), None)


def _precisions(bundle: Bundle) -> _Answer:
    wrong, known = [], 0
    for proof in bundle.proofs:
        errors = {
            "matmul_relative_error": proof.matmul_relative_error,
            "convolution_relative_error": proof.convolution_relative_error,
        }
        numerics = {name: error for name, error in errors.items() if error is not None}
        known += bool(numerics)
        problem = why_unproven(proof.case.precision, numerics)
        wrong += [f"{proof.case.engine} {proof.case.precision}: {problem}"] if problem else []
    if wrong:
        return "broken", "; ".join(wrong)
    return (
        ("holds", f"{known} of {len(bundle.proofs)} cases compute in the precision they name")
        if known
        else (
            "unknown",
            _why(bundle, "precisions"),
        )
    )


def _peaks(bundle: Bundle) -> _Answer:
    ratios = {
        f"{proof.case.engine} {proof.case.precision}": proof.peak_memory_bytes / proof.planned_bytes
        for proof in bundle.proofs
        if proof.case.placement == "gpu" and proof.peak_memory_bytes and proof.planned_bytes
    }
    if not ratios:
        return "unknown", _why(bundle, "precisions") if not bundle.proofs else "no peak of a GPU is known"
    worst = max(ratios, key=lambda name: ratios[name])
    least = min(ratios.values())
    sentence = f"peaks are {least:.2f} to {ratios[worst]:.2f} × the compiler's plan (most: {worst})"
    return "holds" if ratios[worst] <= _PLAN_EXCESS else "broken", sentence


def _kernel_names(bundle: Bundle) -> _Answer:
    wrong, told = [], 0
    for step in bundle.kernels:
        shares = kernel_shares([(kernel.name, kernel.busy_s) for kernel in step.kernels], step.case.precision)
        if shares is None:
            continue
        told += 1
        vector = precision_named(step.case.precision).products == "vector"
        bad = shares.matrix_ratio > _FLOAT32_MATRIX_TIME if vector else shares.matrix_ratio < _REDUCED_MATRIX_TIME
        said = f"{step.case.engine} {step.case.precision}: {format_percent(shares.matrix_ratio, 0)} on Tensor Cores"
        wrong += [f"{said} by its kernels' names"] if bad else []
    if wrong:
        return "broken", "; ".join(wrong)
    return (
        ("holds", f"names of {told} steps agree with their precision")
        if told
        else (
            "unknown",
            next((step.reason for step in bundle.kernels if step.reason), None) or _why(bundle, "precisions"),
        )
    )


def _tensor_activity(bundle: Bundle) -> _Answer:
    trace = bundle.recording()
    if trace is None or not bundle.turns:
        return "unknown", _why(bundle, "clock ramp and turns")
    said, gaps = [], []
    for arm in bundle.turns:
        alone, turns = (
            summarize(trace, windows).devices.get(arm.device, {}).get("tensor_activity_ratio")
            for windows in (arm.alone_ns, arm.in_turns_ns)
        )
        if alone is None or turns is None:
            return "unknown", trace.reason_missing(arm.device, "tensor_activity_ratio")
        gaps.append(abs(alone.mean - turns.mean))
        said.append(
            f"{arm.case.precision} {format_percent(alone.mean, 0)} alone, {format_percent(turns.mean, 0)} in turns"
        )
    return "holds" if max(gaps) <= _ACTIVITY_GAP else "broken", "; ".join(said)


def _flags(bundle: Bundle) -> _Answer:
    trace = bundle.recording()
    if trace is None or not bundle.turns or not trace.header.gpus:
        return "unknown", _why(bundle, "clock ramp and turns")
    found = chain.from_iterable(window_flags(trace, arm.in_turns_ns, [arm.device]) for arm in bundle.turns)
    flags = {flag.code: flag for flag in found}
    void = [flag.detail for flag in flags.values() if flag.severity == "invalid"]
    sentence = f"arms in turns: {', '.join(flags) or 'no flag'}"
    return "broken" if void else "holds", f"{sentence} ({'; '.join(void)})" if void else sentence


def _why(bundle: Bundle, name: str) -> str:
    """Say why a part has no answer: the reason of the first one that stopped it, else its own."""
    reasons = {part.name: part.reason for part in bundle.parts if part.reason}
    return reasons.get("engines") or reasons.get(name) or "nothing of it was seen"


CHECKS: Final[dict[str, Callable[[Bundle], _Answer]]] = {
    "sensors": _sensors,
    "clock ramp": _ramp,
    "utilisation window": _utilisation_window,
    "precisions": _precisions,
    "peak memory": _peaks,
    "kernel names": _kernel_names,
    "Tensor activity": _tensor_activity,
    "flags of a good run": _flags,
}
"""Assumption → the check that holds it against a bundle."""


def checks_text(bundle: Bundle, checked: Sequence[Checked]) -> str:
    """Print a bundle: what ran, and which assumptions hold."""
    return "\n".join(chain(_part_lines(bundle), _engine_lines(bundle), _proof_lines(bundle), _check_lines(checked)))


def _part_lines(bundle: Bundle) -> Iterator[str]:
    cards = " + ".join(gpu.name for gpu in bundle.environment.gpus) or "no NVIDIA GPU"
    yield f"{cards}, {bundle.environment.cpu.name}"
    for part in bundle.parts:
        yield f"{part.status:8} {part.name:22} {format_duration(part.took_s):>8}  {part.reason or ''}".rstrip()


def _engine_lines(bundle: Bundle) -> Iterator[str]:
    for engine, said in bundle.engines.items():
        yield f"         {engine:22} {said}"


def _proof_lines(bundle: Bundle) -> Iterator[str]:
    for proof in bundle.proofs:
        product, convolution = proof.matmul_relative_error, proof.convolution_relative_error
        peak = "peak unknown" if proof.peak_memory_bytes is None else f"peak {format_bytes(proof.peak_memory_bytes)}"
        plan = "" if proof.planned_bytes is None else f" of {format_bytes(proof.planned_bytes)} planned"
        errors = ", ".join(
            f"{what} errs by {'?' if error is None else f'{error:.1e}'}"
            for what, error in (("product", product), ("convolution", convolution))
        )
        failed = proof.missing.get("all")
        yield f"         {proof.case.engine} {proof.case.precision}: {failed or f'{errors}, {peak}{plan}'}"


def _check_lines(checked: Sequence[Checked]) -> Iterator[str]:
    words = {"holds": "holds", "broken": "BROKEN", "unknown": "?"}
    for check in checked:
        yield f"{words[check.state]:8} {check.name}: {check.sentence}"
