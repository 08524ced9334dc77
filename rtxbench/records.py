"""Every frozen record that flows through rtxbench. No logic beyond names, no heavy import.

On disk a run is one JSON-lines file: its first line is a `Run`, every further line a `CaseRecord`,
`RatioRecord` or `Observation`, appended as soon as it is finished (see `rtxbench.results.store`).

Conventions: a quantity's name ends in its unit (``_s _w _j _hz _c _bytes _flops _ratio``); SI inside. A missing
value is ``None`` and the record's ``missing`` maps the field's name to the reason. Times named ``_ns`` are
``time.monotonic_ns()`` of the machine that measured; a `Run` carries one (monotonic, realtime) pair.
Fields are only ever added with a default; anything else raises `SCHEMA_VERSION`.
"""

from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from rtxbench.fields import Count, Figure, LogRatio, Nanoseconds, Share, Slug
from rtxbench.machine import Cpu, Environment, Gpu, Node

__all__ = [
    "GATE_LAUNCH_TOPIC",
    "GATE_SELFTEST_TOPIC",
    "GATE_TOPIC",
    "NATIVE",
    "SCHEMA_VERSION",
    "TRIAL_FINISHED",
    "Case",
    "CaseRecord",
    "Cpu",
    "Environment",
    "Estimate",
    "Flag",
    "Gpu",
    "HardwareSummary",
    "Launch",
    "Leaning",
    "Line",
    "Measurement",
    "Node",
    "Note",
    "Observation",
    "RatioRecord",
    "Record",
    "Run",
    "Summary",
    "Sustained",
    "Verdict",
    "VerdictState",
]

SCHEMA_VERSION = 1
TRIAL_FINISHED: Final = "trial-finished"
"""Metric of the `Observation` that ends a trial: ``--resume`` measures a trial without it again."""
NATIVE: Final = "native"
"""Variant of a `Case`: the workload as the engine's own users write it, without Keras."""
GATE_TOPIC: Final = "gate"
"""Topic of an `Observation` that holds one case's outcome in a gate; the history is drawn from these."""
GATE_LAUNCH_TOPIC: Final = "gate-launch"
"""Topic of an `Observation` that holds one launch of a gate."""
GATE_SELFTEST_TOPIC: Final = "gate-selftest"
"""Topic of an `Observation` of the gate's self-test."""


class _Frozen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A strict value: unknown fields are an error, so a stranger's file cannot smuggle anything in."""


class Case(_Frozen, frozen=True, kw_only=True):
    """One workload and one way of running it. Two equal cases are the same experiment."""

    workload: str
    """Row of `rtxbench.workloads.WORKLOADS`, for example ``resnet50``."""
    batch_size: Count
    """Global batch size, examples per step over all devices."""
    precision: str = "float32"
    """Row of `rtxbench.precision.PRECISIONS`."""
    placement: str = "cpu"
    """Row of `rtxbench.placement.PLACEMENTS`: cpu, gpu, mirrored, …"""
    engine: str = "tensorflow"
    """tensorflow, jax or torch."""
    compiler: str = "none"
    """none, xla or inductor. Always explicit: engines' own defaults differ by placement."""
    device_count: Count = 1
    """Devices the step runs on."""
    variant: str = ""
    """A named change to the workload, for example ``fused-norm``; empty is its Keras form, `NATIVE` its native one."""

    @property
    def as_published(self) -> bool:
        """True for a workload of which nothing was changed, in its Keras form or its native one."""
        return self.variant in ("", NATIVE)

    @property
    def label(self) -> str:
        """Stable human-readable id, for example ``mlp/float32/cpu/b512`` (defaults are left out)."""
        parts = [self.workload, self.precision, self.placement, f"b{self.batch_size}"]
        if self.engine != "tensorflow":
            parts.append(self.engine)
        if self.compiler != "none":
            parts.append(self.compiler)
        if self.device_count != 1:
            parts.append(f"x{self.device_count}")
        if self.variant:
            parts.append(self.variant)
        return "/".join(parts)


class Run(_Frozen, frozen=True, kw_only=True, tag_field="kind", tag="run"):
    """First line of a results file: who measured, where, when and how."""

    schema_version: Annotated[int, msgspec.Meta(ge=1)]
    run_id: Slug
    started_at: str
    """ISO 8601 with zone."""
    monotonic_ns: Nanoseconds
    realtime_ns: Nanoseconds
    environment: Environment
    command: tuple[str, ...]
    profile: str
    rtxbench_version: str


class Estimate(_Frozen, frozen=True, kw_only=True):
    """A point and its two-sided interval. ``n`` is the number of independent units (launches, seeds).

    ``low`` and ``high`` are ``None`` when one unit was measured: a single launch has no interval.
    """

    value: Figure
    low: Figure | None
    high: Figure | None
    n: Count
    confidence: Share = 0.95


class Summary(_Frozen, frozen=True, kw_only=True):
    """Distribution of one sampled metric inside the timed blocks of one case."""

    mean: Figure
    p50: Figure
    p95: Figure
    minimum: Figure
    maximum: Figure
    n: Count


class HardwareSummary(_Frozen, frozen=True, kw_only=True):
    """The recording of one case's timed blocks, summarised: device (GPU UUID or ``host``) → metric → Summary."""

    devices: dict[str, dict[str, Summary]] = {}
    energy_j: dict[str, Figure] = {}
    """Device → energy over all windows; board sensors err by up to 8 %."""
    idle_power_w: dict[str, Figure] = {}
    """Device → median power while it did nothing before the first window."""
    missing: dict[str, str] = {}


class Flag(_Frozen, frozen=True, kw_only=True):
    """A fact about the environment of a measured window that weakens (warn) or voids (invalid) the figure."""

    code: str
    severity: Literal["warn", "invalid"]
    detail: str


class Launch(_Frozen, frozen=True, kw_only=True):
    """One worker process's timed blocks of one case. A block is ``steps_per_block`` synchronised steps."""

    steps_per_block: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    blocks_ns: tuple[tuple[Nanoseconds, Nanoseconds], ...]
    """(start, end) of each timed block, in the order run."""
    warmup_ok: bool
    """Steady: before the timed blocks by the two-window rule, or within them where the warm-up was short."""
    warmup_s: Figure
    build_s: Figure
    """Model construction, seconds."""
    first_step_s: Figure
    """First call of the step: tracing, compilation and one step, seconds."""
    loss: Figure | None = None
    """Loss after the last block; ``None`` where not finite."""
    peak_memory_bytes: Count | None = None
    """Need of the arm alone, from this launch if it was alone in its process at first; else ``None``."""
    solo_ratio: Figure | None = None
    """Step time alone ÷ interleaved; more than 1 % from 1 means the arms disturb each other."""
    warmup: Literal["two-window", "short"] = "two-window"
    """Rule of the warm-up; a short one suffices for ratios."""
    position: Count | None = None
    """The arm's place in the launch: 0 was started, built, warmed up and timed first."""
    layout_bytes: Count | None = None
    """Random padding of the process's environment, which moves its stack and what follows from that."""


class Sustained(_Frozen, frozen=True, kw_only=True):
    """One arm alone for a long stretch, whose first half is discarded: what the machine keeps up.

    Sensors average over longer than a block: only this gives one arm's own throughput, power, energy and clocks.
    """

    window_ns: tuple[Nanoseconds, Nanoseconds]
    discarded_s: Figure
    throughput_per_s: Figure
    """Examples per second, total over total."""
    steady: bool
    """Its blocks show neither a step nor a ramp."""
    power_w: Figure | None = None
    """Of all devices the arm ran on."""
    energy_per_example_j: Figure | None = None
    hardware: HardwareSummary | None = None
    missing: dict[str, str] = {}


class Measurement(_Frozen, frozen=True, kw_only=True):
    """Timed launches of one case and what follows from them."""

    launches: tuple[Launch, ...]
    step_time_s: Estimate
    throughput_per_s: Estimate
    """Examples per second, total over total per launch."""
    warmup_ok: bool
    peak_memory_bytes: Count | None = None
    """Need of the arm alone: the median over the launches that show it, by ``peak_memory_method``."""
    peak_memory_method: str | None = None
    sustained: Sustained | None = None
    flops_per_step: Figure | None = None
    flops_method: str | None = None
    tokens_per_example: Count | None = None
    """Sequence length where the workload is a language model; tokens/s is the product."""
    numerics: dict[str, Figure] = {}
    """Proof of the precision, for example ``matmul_relative_error`` against float64."""
    notes: dict[str, str] = {}
    """Manner in which the engine ran the step where engines differ, for example ``attention`` → its kernel."""
    nodes: tuple[Node, ...] = ()
    """Of a step that several machines ran: the node of each rank, in their order."""


Origin: TypeAlias = Literal["measured", "published", "predicted"]
"""Origin of a figure; the three are always labelled and never mixed."""

Purpose: TypeAlias = Literal["result", "harness", "rival", "race"]
"""Purpose of a record: a result; a check of the instrument itself, which is nobody's training speed; a measurement
against a rival, which is no case of rtxbench; or one launch of a race, which chooses and says nothing of a gain."""


class CaseRecord(_Frozen, frozen=True, kw_only=True, tag_field="kind", tag="case"):
    """One finished case: measured, skipped or failed, with its reason."""

    record_id: str
    run_id: str
    group: str
    """Cases of one group were interleaved in the same launches."""
    purpose: Purpose = "result"
    case: Case
    status: Literal["measured", "skipped", "failed"]
    finished_at: str
    reason: str | None = None
    measurement: Measurement | None = None
    hardware: HardwareSummary | None = None
    flags: tuple[Flag, ...] = ()
    missing: dict[str, str] = {}


class RatioRecord(_Frozen, frozen=True, kw_only=True, tag_field="kind", tag="ratio"):
    """A paired comparison: ``ratio`` is candidate ÷ baseline of ``metric`` (above 1: candidate is better)."""

    record_id: str
    run_id: str
    group: str
    purpose: Purpose = "result"
    baseline: Case
    candidate: Case
    baseline_record: str
    candidate_record: str
    metric: str
    """``throughput`` unless said otherwise."""
    replicate: Literal["launch", "seed"]
    """The independent unit behind ``log_ratios``."""
    log_ratios: tuple[LogRatio, ...]
    """ln(candidate ÷ baseline) of ``metric``, one per replicate."""
    seeds: tuple[int, ...] = ()
    """Seed of each replicate where these are seeds: two runs are a replication only where they share none."""
    ratio: Estimate
    smallest_effect_ratio: Figure | None
    """Smallest relative effect this run could have seen with 95 % power (MDE95); ``None`` below 3 launches."""
    warmup_ok: bool
    finished_at: str
    unfinished_log_ratio: Figure | None = None
    """Movement of ``ratio`` to be expected in trainings four times as long; set where it had not ended with these."""
    order_log_ratio: Figure | None = None
    """Effect of being started first on ``log_ratios``, where the estimate is freed of it (from 8 launches on)."""
    flags: tuple[Flag, ...] = ()
    missing: dict[str, str] = {}


class Observation(_Frozen, frozen=True, kw_only=True, tag_field="kind", tag="observation"):
    """Any other measured figure: an accuracy per seed, a latency, a ceiling, a round trip.

    ``metric`` names the quantity and ends in its unit (``validation_accuracy_ratio``, ``latency_s``,
    ``gemm_flop_per_s``); ``labels`` say what it is of (``dataset``, ``format``, ``arm`` …).
    """

    record_id: str
    run_id: str
    topic: str
    """Claim id or tool that measured it: ``equal-quality``, ``deployment``, ``ceiling``, ``overhead`` …"""
    metric: str
    values: tuple[Figure, ...]
    purpose: Purpose = "result"
    replicate: str
    """Unit that one value stands for: ``seed``, ``request``, ``launch``, ``repeat``."""
    finished_at: str
    case: Case | None = None
    estimate: Estimate | None = None
    labels: dict[str, str] = {}
    reason: str | None = None
    """Set, with no values, where the figure could not be measured."""
    flags: tuple[Flag, ...] = ()
    missing: dict[str, str] = {}


Record: TypeAlias = CaseRecord | RatioRecord | Observation
Line: TypeAlias = Run | CaseRecord | RatioRecord | Observation

VerdictState: TypeAlias = Literal["supported", "refuted", "mixed", "inconclusive", "not-measured", "not-testable"]
Leaning: TypeAlias = Literal["likely-yes", "likely-no"]


class Note(_Frozen, frozen=True, kw_only=True):
    """One thing to be said beside a verdict that decides nothing in it."""

    kind: str
    """Machine-readable: ``all-reduce``, ``input-wait``, ``saving``, ``scaling``, ``unfinished``, ``published`` …"""
    text: str
    """One sentence for a person."""
    links: tuple[str, ...] = ()
    """Record ids, paths of published files or addresses it stands on."""


class Verdict(_Frozen, frozen=True, kw_only=True):
    """The statement that records allow of one claim on one machine, and why. Derived, never stored in results/."""

    claim: str
    machine: str
    subject: str
    """Things compared, for example ``resnet50, mixed_float16 ÷ float32``; empty for the claim as a whole."""
    state: VerdictState
    reason: str
    """Machine-readable reason code, for example ``interval-above-threshold`` or ``no-gpu``."""
    explanation: str
    """One or two sentences for a person: the reason alone. Everything else is one of the ``notes``."""
    estimate: Estimate | None = None
    """The interval that was judged; its ``confidence`` is higher where the evidence is rough."""
    threshold_ratio: float | None = None
    """The claimed ratio: an interval wholly at or above it supports."""
    refuted_below_ratio: float | None = None
    """An interval wholly below it refutes; one between the two lines is about the line."""
    leaning: Leaning | None = None
    """Direction in which an inconclusive verdict leans: its whole 80 % interval lies on one side of the line."""
    held: int | None = None
    """Of a claim as a whole: how many of its comparisons hold …"""
    judged: int | None = None
    """… of how many that were decided either way."""
    range_ratio: tuple[float, float] | None = None
    """Of a claim as a whole, where all are of one part: lowest and highest estimate among the comparisons that hold or,
    where none does, that do not."""
    evidence: tuple[str, ...] = ()
    """Record ids."""
    cause: str | None = None
    """The bottleneck that explains it, where one was diagnosed."""
    next_step: str | None = None
    """Step that would decide an open verdict, in a sentence."""
    next_command: str | None = None
    """The command of that step, where one command cures it."""
    notes: tuple[Note, ...] = ()
