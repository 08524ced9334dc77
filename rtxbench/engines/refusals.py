"""Ways of running a case that are known not to train what they claim to, each with its reason.

A parallel run that trains something else than one device would is a failure, not a result. What is refused here was
seen to fail or to train wrongly; the source is named so that a fixed release can be tried again.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeVar

from rtxbench.engines import ENGINES, FRAMEWORKS
from rtxbench.errors import UnavailableError
from rtxbench.placement import PLACEMENTS, placement_named
from rtxbench.records import NATIVE, Case
from rtxbench.workloads.own import is_own

__all__ = ["COMPILERS", "REFUSALS", "Refusal", "default_compiler", "refuse", "way_of"]

_Way = TypeVar("_Way")

COMPILERS: Final[Mapping[str, tuple[str, ...]]] = {name: ENGINES[name].compilers for name in FRAMEWORKS}
"""Engine of the suite → compilers it has, first the one its users get."""


class Refusal(NamedTuple):
    """One form that is not run."""

    applies: Callable[[Case], bool]
    reason: str
    next_step: str


def default_compiler(engine: str) -> str:
    """Return the compiler users of an engine get without asking."""
    return COMPILERS[engine][0]


def _strategy(case: Case) -> str:
    return placement_named(case.placement).strategy


def _mirrored_with(variant: str) -> Callable[[Case], bool]:
    return lambda case: _strategy(case) in ("mirrored", "multi-worker") and case.variant == variant


REFUSALS: Final[tuple[Refusal, ...]] = (
    Refusal(
        _mirrored_with("gradient-accumulation"),
        "gradient accumulation fails under MirroredStrategy (keras#20582).",
        "Use a larger batch size per device instead.",
    ),
    Refusal(
        _mirrored_with("global-clipnorm"),
        "global_clipnorm clips each replica's gradients before the all-reduce, so it trains another model.",
        "Clip by value, or use one device.",
    ),
    Refusal(
        _mirrored_with("jit-replica-step"),
        "jit_compile=True around the whole replica step fails, the all-reduce included (keras#19005).",
        "Use compiler xla: it compiles forward and gradient and leaves the all-reduce outside.",
    ),
    Refusal(
        _mirrored_with("steps-per-execution"),
        "steps_per_execution above 1 fails with MirroredStrategy's default collectives.",
        "rtxbench's own loop needs no steps_per_execution.",
    ),
    Refusal(
        _mirrored_with("optimizer-outside-scope"),
        "an optimizer created outside the strategy's scope silently steps once per replica.",
        "rtxbench creates it inside.",
    ),
    Refusal(
        lambda case: _strategy(case) in ("ddp", "ddp-nodes") and case.compiler == "inductor" and case.variant != NATIVE,
        "torch.compile around a Keras model inside DistributedDataParallel was not shown to train the same model.",
        "Use compiler none with ddp.",
    ),
    Refusal(
        lambda case: case.variant == NATIVE and case.engine != "torch",
        "a workload's native form is PyTorch's.",
        "Use --engine torch.",
    ),
    Refusal(
        lambda case: placement_named(case.placement).over_network and is_own(case.workload),
        "a model of your own is not carried to other nodes.",
        "Use a workload of the suite.",
    ),
    Refusal(
        lambda case: _strategy(case) == "model-parallel" and case.device_count < 2,
        "a model cannot be split over fewer than two devices.",
        "Ask for two devices or more.",
    ),
)


def refuse(case: Case) -> None:
    """Raise unless the engine can train this case as labelled.

    Raises:
        UnavailableError: the engine has no such compiler or placement, or the form is in `REFUSALS`.
    """
    compilers = COMPILERS.get(case.engine, ("none",))
    if case.compiler not in compilers:
        raise UnavailableError(
            f"{case.engine} has no compiler {case.compiler!r}.", next_step=f"Choose one of: {', '.join(compilers)}."
        )
    engines = placement_named(case.placement).engines
    if engines and case.engine not in engines:
        raise UnavailableError(
            f"placement {case.placement} is a way of {' and '.join(engines)}, not of {case.engine}.",
            next_step=f"Choose one of: {', '.join(n for n, row in PLACEMENTS.items() if row.runs_on(case.engine))}.",
        )
    for refusal in REFUSALS:
        if refusal.applies(case):
            raise UnavailableError(refusal.reason, next_step=refusal.next_step)


def way_of(ways: Mapping[str, _Way], case: Case) -> _Way:
    """Look up how an engine carries out the strategy of a case's placement.

    A strategy the engine does not know must never train on one device in silence.

    Args:
        ways: the engine's table, strategy → way.
        case: what to train.

    Raises:
        UnavailableError: the engine has no way for it.
    """
    placement = placement_named(case.placement)
    if placement.strategy not in ways:
        raise UnavailableError(
            f"{case.engine} has no way to train under the strategy {placement.strategy!r} of placement "
            f"{placement.name}.",
            next_step=f"Give the engine one, or use a placement of strategy {' or '.join(ways)}.",
        )
    return ways[placement.strategy]
