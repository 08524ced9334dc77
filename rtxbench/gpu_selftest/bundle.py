"""The file of a GPU self-test: everything seen, as one JSON document, and its reader.

Bundles come from strangers, so they pass the same boundary as results (`rtxbench.results.foreign`): bounded fields, no
control characters, one message where something is wrong.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from rtxbench.errors import RecordError
from rtxbench.fields import Count, Figure, Nanoseconds
from rtxbench.hardware.trace import Trace, TraceLine, trace_of
from rtxbench.records import Case, Environment
from rtxbench.results.foreign import decoded_lines, malformed

__all__ = [
    "BUNDLE_VERSION",
    "Bundle",
    "CardSample",
    "ClockRamp",
    "ObservedKernel",
    "Part",
    "Proof",
    "StepKernels",
    "TurnTaking",
    "load_bundle",
]

BUNDLE_VERSION: Final = 1
"""Of the format; a reader refuses a newer one."""
_MOST_BYTES: Final = 2**24
_Text = Annotated[str, msgspec.Meta(max_length=2000)]


class _Struct(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Part(_Struct, frozen=True, kw_only=True):
    """One part of the self-test: whether it ran, and why not."""

    name: _Text
    status: Literal["done", "failed", "skipped"]
    took_s: Figure
    reason: _Text | None = None


class CardSample(_Struct, frozen=True, kw_only=True):
    """The card at one moment; ``None`` where the driver did not say."""

    t: Nanoseconds
    sm_clock_hz: Figure | None
    gpu_utilization_ratio: Figure | None
    power_w: Figure | None


class ClockRamp(_Struct, frozen=True, kw_only=True):
    """A card that was idle, worked from ``start_ns`` to ``end_ns``, and was idle again, read every few milliseconds."""

    case: Case
    device: _Text
    start_ns: Nanoseconds
    end_ns: Nanoseconds
    samples: tuple[CardSample, ...]


class TurnTaking(_Struct, frozen=True, kw_only=True):
    """One arm's blocks while no other ran, and while two arms took turns; (start, end) of each in the trace's clock."""

    case: Case
    device: _Text
    alone_ns: tuple[tuple[Nanoseconds, Nanoseconds], ...]
    in_turns_ns: tuple[tuple[Nanoseconds, Nanoseconds], ...]


class Proof(_Struct, frozen=True, kw_only=True):
    """One engine in one precision, alone in its process. A ``None`` has its reason in ``missing``."""

    case: Case
    matmul_relative_error: Figure | None = None
    convolution_relative_error: Figure | None = None
    loss: Figure | None = None
    flops_per_step: Figure | None = None
    peak_memory_bytes: Figure | None = None
    peak_memory_method: _Text | None = None
    planned_bytes: Figure | None = None
    """State and temporary memory as the plan of `rtxbench run` predicts them."""
    first_step_s: Figure | None = None
    missing: dict[str, _Text] = {}


class ObservedKernel(_Struct, frozen=True, kw_only=True):
    """One kernel of a profiled step, by name: all its calls together."""

    name: _Text
    calls: Count
    busy_s: Figure


class StepKernels(_Struct, frozen=True, kw_only=True):
    """The kernels of one case's step, the longest first, or the reason why there are none."""

    case: Case
    kernels: tuple[ObservedKernel, ...] = ()
    reason: _Text | None = None


class Bundle(_Struct, frozen=True, kw_only=True, tag_field="kind", tag="gpu-selftest"):
    """Everything one self-test saw."""

    version: Count = BUNDLE_VERSION
    rtxbench: _Text
    started_at: _Text
    environment: Environment
    doctor: tuple[_Text, ...] = ()
    """The doctor's findings, a sentence each."""
    parts: tuple[Part, ...] = ()
    engines: dict[str, _Text] = {}
    """Engine → what it sees of the card, or why it sees none."""
    ramp: ClockRamp | None = None
    turns: tuple[TurnTaking, ...] = ()
    proofs: tuple[Proof, ...] = ()
    kernels: tuple[StepKernels, ...] = ()
    trace: tuple[TraceLine, ...] = ()
    """The recording of the whole self-test, line by line."""

    def recording(self, path: Path = Path("bundle")) -> Trace | None:
        """Put the recording together; ``None`` where nothing was recorded."""
        return trace_of(self.trace, path) if self.trace else None


_DECODER: Final = msgspec.json.Decoder(Bundle)


def load_bundle(path: Path) -> Bundle:
    """Load a bundle file.

    Raises:
        RecordError: unreadable, no bundle, of a newer version, or with figures that cannot be.
    """
    bundles = [bundle for _line, bundle in decoded_lines(path, _DECODER.decode, _MOST_BYTES)]
    if len(bundles) != 1 or bundles[0] is None:
        raise RecordError(
            f"{path} holds no single complete bundle.",
            next_step="Pass the file `rtxbench selftest gpu --bundle` wrote.",
        )
    bundle = bundles[0]
    if bundle.version > BUNDLE_VERSION:
        raise RecordError(f"{path} is a bundle of version {bundle.version}.", next_step="Upgrade rtxbench.")
    bundle.recording(path)
    problem = next(_problems(bundle), None)
    if problem is not None:
        raise malformed(path, 1, problem)
    return bundle


def _problems(bundle: Bundle) -> Iterator[str]:
    """Say what cannot be true: types and bounds were checked as the file was decoded."""
    windows = [window for arm in bundle.turns for window in (*arm.alone_ns, *arm.in_turns_ns)]
    windows += [(bundle.ramp.start_ns, bundle.ramp.end_ns)] if bundle.ramp is not None else []
    if any(end <= start for start, end in windows):
        yield "a block ends before it begins"
    moments = [sample.t for sample in bundle.ramp.samples] if bundle.ramp is not None else []
    if moments != sorted(moments):
        yield "the samples of the clock ramp are not in the order of time"
    figures = [error for proof in bundle.proofs for error in (proof.matmul_relative_error, proof.peak_memory_bytes)]
    if any(figure is not None and figure < 0 for figure in figures):
        yield "an error or a peak below zero"
    if any(kernel.busy_s < 0 for step in bundle.kernels for kernel in step.kernels):
        yield "a kernel took less than no time"
