"""Parts of a plan: a user's request, groups of cases, and the cases this machine can run."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rtxbench.engines.refusals import COMPILERS, default_compiler
from rtxbench.precision import why_not
from rtxbench.records import NATIVE, Case, Environment
from rtxbench.workloads import workload_named

__all__ = [
    "FORMS",
    "PROFILE_NAMES",
    "Group",
    "Request",
    "case_of",
    "compilers_of",
    "forms_of",
    "on_engine",
    "split_runnable",
]

PROFILE_NAMES: Final = ("smoke", "quick", "standard", "full")
FORMS: Final = (NATIVE, "keras")


@dataclass(frozen=True)
class Group:
    """Cases interleaved in the same launches: the baseline and what is compared with it."""

    name: str
    """``claim/workload``, for example ``tensor-cores/resnet50``."""
    claim: str
    workload: str
    baseline: Case | None
    """``None`` where nothing of the group can run on this machine."""
    candidates: tuple[Case, ...] = ()
    skipped: tuple[tuple[Case, str], ...] = ()
    """Cases that belong here but cannot run on this machine, with the reason."""
    apart: bool = False
    """True where the card holds one of the cases at a time: they take turns as whole processes, not block by block."""

    @property
    def cases(self) -> tuple[Case, ...]:
        """Everything that can run, baseline first."""
        return () if self.baseline is None else (self.baseline, *self.candidates)


@dataclass(frozen=True, kw_only=True)
class Request:
    """The user's choices beyond the profile's defaults."""

    profile: str = "quick"
    engine: str = "tensorflow"
    """tensorflow, jax, torch, or all: every group once per engine."""
    form: str = NATIVE
    """On the engine torch: ``native`` where a workload has that form, or ``keras``: Keras's layers on PyTorch."""
    claims: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()
    compilers: tuple[str, ...] = ()
    logical_devices: int = 0
    """Above 1: also run MirroredStrategy over that many logical CPU devices, as a functional check."""
    batch_size: int | None = None
    claims_file: Path | None = None
    """Claims of the user's own instead of the suite's."""
    model: str | None = None
    """A model of the user's own, ``train.py:build``, instead of the suite's; an empty engine is the one it imports."""
    nodes: str = ""
    """Source of the other nodes of one job over several: ``launcher``, or the address of a Ray cluster."""
    nodes_wait_s: float = 120.0
    """Seconds that they are waited for."""
    search: bool = False
    """Search the fastest setting of that model instead of measuring each switch by itself."""


def on_engine(engine: str, request: Request) -> Request:
    """Return the same request on one engine."""
    return dataclasses.replace(request, engine=engine)


def compilers_of(request: Request) -> tuple[str, ...]:
    """List the compilers the engine's users get by default; with time to spend, also those they can ask for.

    JAX has only one that trains at a speed anyone would use.
    """
    return (default_compiler(request.engine),) if request.profile in ("smoke", "quick") else forms_of(request)


def forms_of(request: Request) -> tuple[str, ...]:
    """List the compilers by which an engine's users reach another speed without rewriting the model."""
    default = default_compiler(request.engine)
    return (default,) if default == "xla" else COMPILERS[request.engine]


def case_of(workload: str, request: Request, *, placement: str, kind: str, devices: int = 1, **changes: str) -> Case:
    """Return one case of the request: the workload's batch size per device, the engine's usual compiler unless changed.

    Args:
        workload: its name in `WORKLOADS`.
        request: gives the engine and, where the user set it, the batch size over all devices.
        placement: where to train.
        kind: cpu or gpu; chooses the workload's batch size.
        devices: that share the batch.
        **changes: other fields of `Case`, for example ``precision``.

    Raises:
        UsageError: no such workload.
    """
    changes.setdefault("compiler", default_compiler(request.engine))
    changes.setdefault("variant", _form_of(workload, request))
    batch_size = request.batch_size or workload_named(workload).batch_sizes[kind] * devices
    return Case(
        workload=workload,
        batch_size=batch_size,
        placement=placement,
        engine=request.engine,
        device_count=devices,
        **changes,
    )


def _form_of(workload: str, request: Request) -> str:
    native = request.engine == "torch" and request.form == NATIVE and workload_named(workload).native is not None
    return NATIVE if native else ""


def split_runnable(
    cases: Sequence[Case], environment: Environment, kind: str
) -> tuple[list[Case], list[tuple[Case, str]]]:
    """Cases that can run and those that cannot, with the reason."""
    run: list[Case] = []
    skipped: list[tuple[Case, str]] = []
    for case in cases:
        reason = why_not(
            case.precision,
            device_kind=kind,
            compiler=case.compiler,
            compute_capability=_compute_capability(environment) if kind == "gpu" else None,
        )
        run, skipped = (run, [*skipped, (case, reason)]) if reason else ([*run, case], skipped)
    return run, skipped


def _compute_capability(environment: Environment) -> float | None:
    text = environment.gpus[0].compute_capability if environment.gpus else None
    return float(text) if text else None
