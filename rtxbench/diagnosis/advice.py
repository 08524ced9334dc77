"""Advise on a cause, fitted to the case: never what was measured to be slower, nor what the case already does.

A change that was measured beside the case is quoted with its gain; one that was measured as no gain is left out; one
that nobody measured is offered only where the device's own ceilings do not speak against it.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from rtxbench.units import format_ratio
from rtxbench.wording import name_of

__all__ = ["Situation", "fitting_advice"]

_WORTHWHILE: Final = 1.05
_LOWER: Final = ("mixed_float16", "mixed_bfloat16")


class Situation(NamedTuple):
    """A case and what was measured beside it."""

    device_kind: str
    precision: str
    compiled: bool
    gains: Mapping[str, float]
    """``compiled`` or a precision → measured speed after that change ÷ the case's own."""
    rates: Mapping[str, float]
    """Precision → measured matrix products ÷ those in float32."""


def fitting_advice(code: str, situation: Situation) -> str:
    """Write what to try about a cause in this situation; empty where its general step fits every case."""
    parts = _ADVICE[code](situation) if code in _ADVICE else []
    if not parts:
        return ""
    text = ", or ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _compile(s: Situation) -> list[str]:
    gain = s.gains.get("compiled")
    if s.compiled or (gain is not None and gain < _WORTHWHILE):
        return []
    if gain is not None:
        return [f"compile the step: that trained {format_ratio(gain)} as fast here"]
    return ["try compiling the step (XLA, torch.compile), which fuses small operations"]


def _lower_precision(s: Situation) -> list[str]:
    if s.precision != "float32":
        return []
    measured = {name: s.gains[name] for name in _LOWER if name in s.gains}
    best = max(measured, key=lambda name: measured[name], default="")
    if best and measured[best] >= _WORTHWHILE:
        return [f"train in {name_of(best)}: that trained {format_ratio(measured[best])} as fast here"]
    open_ = [name for name in _LOWER if name not in measured and s.rates.get(name, 0.0) >= 1.0]
    if open_:
        return [f"try {name_of(open_[0])}, which moves half the bytes"]
    unknown = not measured and not any(name in s.rates for name in _LOWER)
    return ["try mixed precision, which moves half the bytes"] if unknown and s.device_kind == "gpu" else []


def _memory(s: Situation) -> list[str]:
    return [*_lower_precision(s), *_compile(s)] or [
        "use a model that moves fewer bytes (fewer or narrower layers)",
        "a device with more memory bandwidth",
    ]


def _launch(s: Situation) -> list[str]:
    return ["raise the batch size, so that each call does more work", *_compile(s)]


def _off_matrix_unit(s: Situation) -> list[str]:
    if s.precision == "float32":
        return _lower_precision(s) or ["stay in float32, because the lower precisions measured here were no faster"]
    return ["use channel counts that are multiples of 8", "keep no large layer in float32"]


_ADVICE: Final[Mapping[str, Callable[[Situation], list[str]]]] = {
    "memory-bandwidth-bound": _memory,
    "launch-bound": _launch,
    "compute-bound-off-matrix-unit": _off_matrix_unit,
}
