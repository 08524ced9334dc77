"""The settings that a search may combine: what an engine has, as changes of one plain case."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Final, NamedTuple

from msgspec.structs import replace

from rtxbench.engines.refusals import COMPILERS
from rtxbench.measure.groups import split_runnable
from rtxbench.precision import PRECISIONS
from rtxbench.records import Case, Environment
from rtxbench.workloads.switches import joined, switches_of

__all__ = ["SearchOption", "asides", "combinations", "in_less_memory", "memory_switches", "options"]

_BATCH_FACTORS: Final = (2, 4)
_SWITCHES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "torch": (
        ("memory format", "channels-last"),
        ("optimizer", "fused-optimizer"),
        ("attention", "sdpa-attention"),
        ("attention", "eager-attention"),
        ("convolution search", "cudnn-benchmark"),
        ("memory", "checkpointing"),
        ("memory", "accumulate-4"),
    ),
    "jax": (("memory", "checkpointing"),),
}
"""Engine → (axis, switch) that a model of the user's own may have."""
_ASIDE: Final = "memory"
"""The axis that costs time and frees memory: by itself it wins no race for speed, and its price is told of the winner.
It races where a larger batch trains only with it (`in_less_memory`)."""


class SearchOption(NamedTuple):
    """One change of the plain case."""

    axis: str
    name: str
    """Precision, compiler or switch; a factor of the batch."""
    beside: str = ""
    """Switch that comes with it, because it makes room for the batch."""

    def of(self, case: Case) -> Case:
        """Make this change to a case."""
        if self.beside:
            case = replace(case, variant=joined([*switches_of(case.variant), self.beside]))
        match self.axis:
            case "precision":
                return replace(case, precision=self.name)
            case "compiler":
                return replace(case, compiler=self.name)
            case "batch":
                return replace(case, batch_size=case.batch_size * int(self.name))
            case _:
                return replace(case, variant=joined([*switches_of(case.variant), self.name]))


def options(
    plain: Case, environment: Environment, *, keras: bool, compilers: Sequence[str] = ()
) -> tuple[list[SearchOption], list[tuple[Case, str]]]:
    """List the changes that the engine has, and those this machine cannot make, with the reason.

    Args:
        plain: the case they change.
        environment: of this machine.
        keras: whether the model is a Keras model, which has no switches of its engine's.
        compilers: that were asked for; none for all that the engine has.
    """
    found = [SearchOption("precision", name) for name in PRECISIONS if name != plain.precision]
    if plain.compiler == "none":
        there = compilers or COMPILERS[plain.engine]
        found += [SearchOption("compiler", name) for name in there if name != plain.compiler]
    if not keras:
        found += [SearchOption(axis, name) for axis, name in _SWITCHES.get(plain.engine, ())]
    found += [SearchOption("batch", str(factor)) for factor in _BATCH_FACTORS]
    able, skipped = split_runnable([option.of(plain) for option in found], environment, plain.placement)
    return [option for option in found if option.of(plain) in able], skipped


def combinations(plain: Case, allowed: Iterable[SearchOption]) -> list[Case]:
    """List every combination of what was allowed, one option an axis at most, without the plain case."""
    axes: dict[str, list[SearchOption]] = {}
    for option in allowed:
        if option.axis != _ASIDE:
            axes.setdefault(option.axis, []).append(option)
    found = []
    for chosen in product(*([None, *axis] for axis in axes.values())):
        case = plain
        for picked in chosen:
            case = case if picked is None else picked.of(case)
        found.append(case)
    return found[1:]


def asides(winner: Case, allowed: Iterable[SearchOption]) -> list[Case]:
    """List the winner with each switch that frees memory and costs time, and that it does not have already."""
    found = [option.of(winner) for option in allowed if option.axis == _ASIDE]
    return [case for case in found if case != winner]


def in_less_memory(option: SearchOption, allowed: Iterable[SearchOption]) -> list[SearchOption]:
    """List the forms of a larger batch that need less memory: with each switch that was allowed and frees some."""
    if option.axis != "batch":
        return []
    return [option._replace(beside=switch.name) for switch in allowed if switch.axis == _ASIDE]


def memory_switches(case: Case) -> tuple[str, ...]:
    """Name the switches of a case that free memory."""
    known = {name for rows in _SWITCHES.values() for axis, name in rows if axis == _ASIDE}
    return tuple(name for name in switches_of(case.variant) if name in known)
