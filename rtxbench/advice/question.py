"""Answer which card to buy: every option with what is known of it, ranked where figures may be compared.

One advice stands on one software stack, its *basis*: figures of two stacks are never ranked together. Options whose
throughput is published or predicted in that stack are ranked; a machine of one's own, measured in its own stack,
joins as a row of its own; whatever cannot be said is said, with the reason.
"""

from collections.abc import Mapping, Sequence

import msgspec

from rtxbench.advice.aliases import METHOD_ALIASES, canonical
from rtxbench.advice.cost import Assumptions
from rtxbench.advice.memory.need import FitState
from rtxbench.catalog.prices import Price
from rtxbench.errors import UsageError
from rtxbench.lookup import named
from rtxbench.records import Origin

__all__ = [
    "RANKINGS",
    "Advice",
    "Alternative",
    "BreakEven",
    "Memory",
    "MemoryPart",
    "Option",
    "Origin",
    "Question",
    "Ratio",
    "RentOrBuy",
    "rank_options",
    "rent_of",
    "setup_of",
    "split_memory_model",
]


class _Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """Plain data that also is the JSON."""


class Question(_Frozen, frozen=True, kw_only=True):
    """A buyer's question."""

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
    setup: Mapping[str, int | bool | str] = {}
    """Further fields of the memory model's `Setup`: framework, rank, checkpointing …"""
    own_model: str | None = None
    """A model of one's own, ``file.py:function``: its kernels decide how cards compare."""
    stack: str | None = None
    """Published software stack to stand on; ``None`` picks the newest with enough cards."""
    rank_by: str | None = None
    """Row of `RANKINGS`; ``None``: throughput under a budget, else throughput per price."""
    rent: tuple[str, float] | None = None
    """A card that could be rented, and its price per hour; an empty name means the first option's."""
    max_devices: int | None = None
    """Most cards in one machine; ``None``: one, and two where somebody published them."""
    assumptions: Assumptions = Assumptions()


class MemoryPart(_Frozen, frozen=True, kw_only=True):
    """One part of a training step's memory."""

    name: str
    value_bytes: float


class Memory(_Frozen, frozen=True, kw_only=True):
    """The answer to whether a training fits in one device's memory."""

    model: str
    state: FitState | None
    """``None`` where only the largest batch is asked for."""
    low_bytes: float
    high_bytes: float
    batch_size: int
    largest_batch: int
    """Of the upper end of the need; 0: not one example."""
    basis: str
    card_bytes: int | None = None
    """Memory of one device."""
    parts: tuple[MemoryPart, ...] = ()
    """Parts of the middle of the range; empty where it was measured or compiled."""


class Ratio(_Frozen, frozen=True, kw_only=True):
    """One throughput ÷ another with the range of the ratio itself, which is narrower than the two ranges suggest."""

    value: float
    low: float
    high: float
    of: str
    """Card or machine that it is a multiple of."""
    basis: str
    """``measured``, ``published``, ``predicted``, or which of these was mixed."""

    @property
    def is_certain(self) -> bool:
        """Return whether the range leaves out 1."""
        return self.low > 1 or self.high < 1


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
    predicted_by: str | None = None
    """``law``, ``publisher's ratio``, ``own batch`` or ``scaling of several``; ``None`` where it is not predicted."""
    price: Price | None = None
    """Of all devices together."""
    power_w: float | None = None
    power_origin: str = ""
    energy_per_example_j: float | None = None
    energy_low_j: float | None = None
    energy_high_j: float | None = None
    cost_per_million: float | None = None
    cost_low: float | None = None
    cost_high: float | None = None
    throughput_per_price: float | None = None
    throughput_per_price_low: float | None = None
    throughput_per_price_high: float | None = None
    times_yours: Ratio | None = None
    memory: Memory | None = None
    owned: bool = False
    comparable: bool = True
    """False: one example is other work than in the ranked figures (another sequence length)."""
    excluded: str | None = None
    """Reason why it is out of the running: over budget, or too little memory."""
    cannot_say: str | None = None
    why: tuple[str, ...] = ()
    """Reasons for its place, a sentence each."""
    sources: tuple[str, ...] = ()

    @property
    def price_amount(self) -> float | None:
        """Price, where it is known."""
        return None if self.price is None else self.price.amount


class BreakEven(_Frozen, frozen=True, kw_only=True):
    """From where the dearer option has cost less than the cheaper one, electricity included."""

    cheaper: str
    dearer: str
    examples: float | None
    """``None``: never, at these assumptions."""
    examples_low: float | None
    """The hours if the ratio of the two throughputs is at the favourable end of its range."""
    examples_high: float | None
    """At the other end; ``None``: never."""
    hours_per_day: float | None
    """Of the cheaper card's work over the assumed years; ``None``: not within 24 hours a day."""
    hours_per_day_low: float | None
    hours_per_day_high: float | None


class RentOrBuy(_Frozen, frozen=True, kw_only=True):
    """From how many hours on a rented card buying the first option costs less for the same work."""

    bought: str
    rented: str
    price_per_hour: float
    hours: float | None
    """Of the rented card; ``None``: buying never costs less."""
    hours_low: float | None
    hours_high: float | None


class Alternative(_Frozen, frozen=True, kw_only=True):
    """Another option with what speaks for it."""

    name: str
    reason: str
    text: str


class Advice(_Frozen, frozen=True, kw_only=True):
    """The answer in a sentence, then ranked options, then those that are not ranked."""

    question: Question
    answer: str
    """The card in one sentence with its ranges; where none can be named, what cannot be said."""
    indistinguishable: tuple[str, ...]
    """Options whose ratio to the first has a range that holds 1."""
    would_change: tuple[str, ...]
    """Changes that would put another card first."""
    alternatives: tuple[Alternative, ...]
    currency: str
    unit: str
    """Name of one example: images, sequences …"""
    basis: str | None
    """Software stack of the ranked figures; ``None`` where no figure may be ranked."""
    basis_note: str
    ranked_by: str
    options: tuple[Option, ...]
    break_even: tuple[BreakEven, ...]
    rent_or_buy: RentOrBuy | None
    notes: tuple[str, ...]


RANKINGS: Mapping[str, tuple[str, bool]] = {
    # name: (field of Option, larger is better)
    "throughput": ("throughput_per_s", True),
    "value": ("throughput_per_price", True),
    "cost": ("cost_per_million", False),
    "energy": ("energy_per_example_j", False),
    "price": ("price_amount", False),
}
"""Figures by which options may be ranked."""


def rank_options(options: Sequence[Option], rank_by: str) -> tuple[Option, ...]:
    """Number the options that may be compared, best first, then append the rest in their order.

    An option is compared if it is for sale, not excluded, and the figure ranked by is known. What must fit comes first
    where it surely does: the fastest card is no answer if the model may not fit.

    Raises:
        UsageError: unknown ranking.
    """
    name, larger = named(RANKINGS, rank_by, "ranking")

    def figure(option: Option) -> float | None:
        value = getattr(option, name)
        return None if value is None else float(value)

    compared = [o for o in options if not o.owned and o.excluded is None and figure(o) is not None]
    by_figure = sorted(compared, key=lambda option: figure(option) or 0.0, reverse=larger)
    ordered = sorted(by_figure, key=lambda option: option.memory is not None and option.memory.state == "tight")
    ranked = [msgspec.structs.replace(option, rank=number) for number, option in enumerate(ordered, start=1)]
    rest = [option for option in options if option not in compared]
    owned = [option for option in rest if option.owned]
    return (*ranked, *owned, *(option for option in rest if not option.owned))


def split_memory_model(text: str) -> tuple[str, str]:
    """Split ``llama-2-7b:qlora`` into its two parts; the method defaults to full fine-tuning."""
    name, _, method = text.rpartition(":") if ":" in text else (text, "", "")
    return name.strip(), canonical(method, METHOD_ALIASES) or "full"


def rent_of(text: str) -> tuple[str, float] | None:
    """Read ``4090=0.40`` or ``0.40`` as a card and its price per hour; ``None`` for nothing.

    Raises:
        UsageError: the price is no positive number.
    """
    if not text.strip():
        return None
    name, _, price = text.rpartition("=")
    try:
        value = float(price)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise UsageError(f"--rent is {text!r}.", next_step="Give a price per hour, such as 0.40 or 4090=0.40.")
    return name.strip(), value


_SWITCHES: Mapping[str, Mapping[str, int | bool | str]] = {
    # key: what may be typed → value; an empty table takes a whole number or, where the key is a name, the text.
    "checkpointing": {"on": True, "off": False},
    "attention": {"flash": True, "eager": False},
    "backward": {"on": True, "off": False},
    "targets": {"all": "all", "qv": "qv", "attention": "attention"},
    "fp8": {"on": True, "off": False},
    "encoders": {"resident": True, "cached": False},
    "rank": {},
    "resolution": {},
    "framework": {},
}
_FIELDS = {"attention": "fused_attention", "backward": "optimizer_in_backward", "encoders": "encoders_resident"}
_LARGEST = {"rank": 4096, "resolution": 8192}


def setup_of(text: str) -> dict[str, int | bool | str]:
    """Read ``rank=64,checkpointing=off,framework=torchtune`` as the fields of the memory model's setup.

    Raises:
        UsageError: an unknown key or value.
    """
    found: dict[str, int | bool | str] = {}
    for item in (part.strip().lower() for part in text.split(",") if part.strip()):
        key, _, typed = item.partition("=")
        known = named(_SWITCHES, key, "setting of --setup")
        if key in _LARGEST:
            if not typed.isdigit() or not 0 < int(typed) <= _LARGEST[key]:
                raise UsageError(f"{key} is {typed!r}.", next_step=f"Give a whole number from 1 to {_LARGEST[key]}.")
            found[key] = int(typed)
        else:
            found[_FIELDS.get(key, key)] = named(known, typed, f"value of {key}") if known else typed
    return found
