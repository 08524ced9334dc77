"""Compute the cost of training on a card over its life (price, resale, electricity), and where two cards break even.

Every assumption is a field of `Assumptions` and is printed beside the figures.
"""

import msgspec

from rtxbench.errors import UsageError

__all__ = [
    "Assumptions",
    "break_even_examples",
    "break_even_hours_per_day",
    "cost_per_million",
    "energy_per_example_j",
    "rent_hours",
]

_DAYS_PER_YEAR = 365.25
_JOULES_PER_KWH = 3.6e6


class Assumptions(msgspec.Struct, frozen=True):
    """Assumptions of a cost besides the card. Money is in the price list's currency."""

    electricity_per_kwh: float = 0.30
    hours_per_day: float = 4.0
    years: float = 3.0
    resale_ratio: float = 0.3
    """Share of the price got back at the end."""
    host_w: float = 100.0
    """Mean draw of the rest of the machine while it trains."""

    def checked(self) -> "Assumptions":
        """Validate the values, and return self.

        Raises:
            UsageError: a value no machine can have.
        """
        limits = {
            "electricity_per_kwh": (0, 100),
            "hours_per_day": (0.01, 24),
            "years": (0.01, 50),
            "resale_ratio": (0, 1),
            "host_w": (0, 10_000),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"{name} is {value:g}.", next_step=f"Give a value between {low:g} and {high:g}.")
        return self


def energy_per_example_j(power_w: float, throughput_per_s: float) -> float:
    """Joules per example at a mean draw of ``power_w``."""
    return power_w / throughput_per_s


def cost_per_million(price: float, power_w: float, throughput_per_s: float, assumptions: Assumptions) -> float:
    """Money per million examples over the card's life, electricity of card and host included.

    Args:
        price: of the card, in the price list's currency, which is the result's too.
        power_w: mean draw of the card while it trains.
        throughput_per_s: examples per second.
        assumptions: electricity, hours, years and resale.
    """
    active_s = assumptions.hours_per_day * 3600 * _DAYS_PER_YEAR * assumptions.years
    fixed = price * (1 - assumptions.resale_ratio) / (throughput_per_s * active_s)
    return 1e6 * (fixed + _electricity_per_example(power_w, throughput_per_s, assumptions))


def break_even_examples(
    cheap: tuple[float, float, float], dear: tuple[float, float, float], assumptions: Assumptions
) -> float | None:
    """Examples after which the dearer card has cost less; ``None`` if it never does.

    Args:
        cheap: (price, power_w, throughput_per_s) of the card that costs less.
        dear: the same of the other.
        assumptions: electricity and resale; hours and years do not enter.
    """
    extra = (dear[0] - cheap[0]) * (1 - assumptions.resale_ratio)
    saved = _electricity_per_example(cheap[1], cheap[2], assumptions) - _electricity_per_example(
        dear[1], dear[2], assumptions
    )
    if extra <= 0:
        return 0.0
    return extra / saved if saved > 0 else None


def break_even_hours_per_day(
    cheap: tuple[float, float, float], dear: tuple[float, float, float], assumptions: Assumptions
) -> float | None:
    """Hours a day of the cheaper card's work from which the dearer one costs less for the same examples.

    ``None`` if there is none within 24 hours a day.
    """
    examples = break_even_examples(cheap, dear, assumptions)
    if examples is None:
        return None
    hours = examples / cheap[2] / 3600 / (_DAYS_PER_YEAR * assumptions.years)
    return hours if hours <= 24 else None


def _electricity_per_example(power_w: float, throughput_per_s: float, assumptions: Assumptions) -> float:
    energy_j = energy_per_example_j(power_w + assumptions.host_w, throughput_per_s)
    return energy_j / _JOULES_PER_KWH * assumptions.electricity_per_kwh


def rent_hours(
    price: float, power_w: float, speed_ratio: float, price_per_hour: float, assumptions: Assumptions
) -> float | None:
    """Hours on a rented card after which buying another has cost less for the same examples; ``None`` if it never does.

    Args:
        price: of the card to buy.
        power_w: its mean draw while it trains.
        speed_ratio: its throughput ÷ the rented card's.
        price_per_hour: of renting, machine and electricity included.
        assumptions: electricity, resale and the rest of the machine's draw.
    """
    electricity_per_hour = (power_w + assumptions.host_w) / 1000 * assumptions.electricity_per_kwh / speed_ratio
    saved = price_per_hour - electricity_per_hour
    return price * (1 - assumptions.resale_ratio) / saved if saved > 0 else None
