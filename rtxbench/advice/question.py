"""Which card to buy: every option with what is known of it, ranked where figures may be compared.

One advice stands on one software stack, its *basis*: figures of two stacks are never ranked together. Options whose
throughput is published or predicted in that stack are ranked; a machine of one's own, measured in its own stack,
joins as a row of its own; whatever cannot be said is said, with the reason.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from rtxbench.advice.cost import Assumptions
from rtxbench.advice.memory.need import FitState
from rtxbench.catalog.prices import Price
from rtxbench.lookup import named

__all__ = [
    "RANKINGS",
    "Advice",
    "BreakEven",
    "Memory",
    "Option",
    "Origin",
    "Question",
    "rank_options",
    "split_memory_model",
]

Origin: TypeAlias = Literal["measured", "published", "predicted"]


class _Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """Plain data that also is the JSON."""


class Question(_Frozen, frozen=True, kw_only=True):
    """What a buyer asks."""

    workload: str
    precision: str = "mixed_float16"
    budget: float | None = None
    cards: tuple[str, ...] = ()
    """Names as a person types them; empty: every GeForce and workstation card of the catalogue."""
    memory_model: str | None = None
    """A model that must fit, ``NAME`` or ``NAME:METHOD``, for example ``llama-2-7b:qlora``."""
    batch_size: int | None = None
    tokens: int | None = None
    optimizer: str = "adam"
    stack: str | None = None
    """Published software stack to stand on; ``None`` picks the newest with enough cards."""
    rank_by: str | None = None
    """Row of `RANKINGS`; ``None``: throughput under a budget, else throughput per price."""
    max_devices: int = 2
    assumptions: Assumptions = Assumptions()


class Memory(_Frozen, frozen=True, kw_only=True):
    """Whether something fits in one device's memory."""

    model: str
    state: FitState | None
    """``None`` where only the largest batch is asked for."""
    low_bytes: float
    high_bytes: float
    batch_size: int
    largest_batch: int
    """Of the upper end of the need; 0: not one example."""
    basis: str


class Option(_Frozen, frozen=True, kw_only=True):
    """One thing to buy, or a machine of one's own. ``None`` is unknown; ``cannot_say`` has the reason."""

    name: str
    card: str | None
    devices: int = 1
    rank: int | None = None
    origin: Origin | None = None
    stack: str | None = None
    throughput_per_s: float | None = None
    low_per_s: float | None = None
    high_per_s: float | None = None
    batch_size: int | None = None
    price: Price | None = None
    """Of all devices together."""
    power_w: float | None = None
    power_origin: str = ""
    energy_per_example_j: float | None = None
    cost_per_million: float | None = None
    throughput_per_price: float | None = None
    memory: Memory | None = None
    owned: bool = False
    comparable: bool = True
    """False: one example is other work than in the ranked figures (another sequence length)."""
    excluded: str | None = None
    """Why it is out of the running: over budget, or too little memory."""
    cannot_say: str | None = None
    why: tuple[str, ...] = ()
    """What puts it where it is, a sentence each."""
    sources: tuple[str, ...] = ()


class BreakEven(_Frozen, frozen=True, kw_only=True):
    """From where the dearer option has cost less than the cheaper one, electricity included."""

    cheaper: str
    dearer: str
    examples: float | None
    """``None``: never, at these assumptions."""
    hours_per_day: float | None
    """Of the cheaper card's work over the assumed years; ``None``: not within 24 hours a day."""


class Advice(_Frozen, frozen=True, kw_only=True):
    """The answer: ranked options first, then those that are not ranked."""

    question: Question
    currency: str
    unit: str
    """What one example is: images, sequences …"""
    basis: str | None
    """Software stack of the ranked figures; ``None`` where no figure may be ranked."""
    basis_note: str
    ranked_by: str
    options: tuple[Option, ...]
    break_even: tuple[BreakEven, ...]
    notes: tuple[str, ...]


RANKINGS: Mapping[str, tuple[str, bool]] = {
    # name: (field of Option, larger is better)
    "throughput": ("throughput_per_s", True),
    "value": ("throughput_per_price", True),
    "cost": ("cost_per_million", False),
    "energy": ("energy_per_example_j", False),
}
"""What options may be ranked by."""


def rank_options(options: Sequence[Option], rank_by: str) -> tuple[Option, ...]:
    """Number the options that may be compared, best first, then append the rest in their order.

    An option is compared if it is for sale, not excluded, and the figure ranked by is known.

    Raises:
        UsageError: unknown ranking.
    """
    name, larger = named(RANKINGS, rank_by, "ranking")

    def figure(option: Option) -> float | None:
        value = getattr(option, name)
        return None if value is None else float(value)

    compared = [o for o in options if not o.owned and o.excluded is None and figure(o) is not None]
    ordered = sorted(compared, key=lambda option: figure(option) or 0.0, reverse=larger)
    ranked = [_placed(option, number, ordered) for number, option in enumerate(ordered, start=1)]
    rest = [option for option in options if option not in compared]
    owned = [option for option in rest if option.owned]
    return (*ranked, *owned, *(option for option in rest if not option.owned))


def _placed(option: Option, number: int, ordered: Sequence[Option]) -> Option:
    """The option with its rank, and which neighbours cannot be told from it."""
    above = ordered[number - 2] if number > 1 else None
    doubt: tuple[str, ...] = ()
    if above is not None and _overlap(option, above):
        doubt = (f"its range overlaps that of {above.name}: the two cannot be told apart",)
    return msgspec.structs.replace(option, rank=number, why=(*option.why, *doubt))


def _overlap(one: Option, other: Option) -> bool:
    if one.throughput_per_s is None or other.throughput_per_s is None:
        return False
    if one.origin == other.origin == "published":
        return False
    low, high = one.low_per_s or one.throughput_per_s, one.high_per_s or one.throughput_per_s
    other_low, other_high = other.low_per_s or other.throughput_per_s, other.high_per_s or other.throughput_per_s
    return low <= other_high and other_low <= high


def split_memory_model(text: str) -> tuple[str, str]:
    """``llama-2-7b:qlora`` → its two parts; the method defaults to full fine-tuning."""
    name, _, method = text.partition(":")
    return name, method or "full"
