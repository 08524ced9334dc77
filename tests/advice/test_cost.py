import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtxbench.advice.cost import (
    Assumptions,
    break_even_examples,
    break_even_hours_per_day,
    cost_per_million,
    energy_per_example_j,
)
from rtxbench.errors import UsageError

PLAIN = Assumptions(electricity_per_kwh=0.30, hours_per_day=4, years=3, resale_ratio=0.0, host_w=0.0)
CHEAP, DEAR = (500.0, 200.0, 100.0), (1000.0, 200.0, 200.0)


def test_cost_by_hand() -> None:
    """1,000 over 3 years of 4 hours a day at 100 examples/s and 300 W: worked out by hand."""
    seconds = 4 * 3600 * 365.25 * 3
    by_hand = 1e6 * (1000 / (100 * seconds) + 300 / 100 / 3.6e6 * 0.30)
    assert cost_per_million(1000, 300, 100, PLAIN) == pytest.approx(by_hand)
    assert energy_per_example_j(300, 100) == 3.0


def test_break_even_is_where_the_totals_meet() -> None:
    """At the break-even count both cards have cost the same, electricity included."""
    examples = break_even_examples(CHEAP, DEAR, PLAIN)
    assert examples is not None

    def total(card: tuple[float, float, float]) -> float:
        return card[0] + examples * card[1] / card[2] / 3.6e6 * 0.30

    assert total(CHEAP) == pytest.approx(total(DEAR))


def test_a_dearer_card_that_wastes_more_never_breaks_even() -> None:
    """No break-even where the dearer card also draws more per example."""
    assert break_even_examples(CHEAP, (1000.0, 900.0, 100.0), PLAIN) is None


def test_break_even_beyond_the_day_is_none() -> None:
    """A break-even that needs more than 24 hours a day is none."""
    assert break_even_hours_per_day(CHEAP, (100_000.0, 200.0, 200.0), PLAIN) is None


@given(price=st.floats(1, 1e5), power=st.floats(1, 1e3), speed=st.floats(0.1, 1e6))
def test_faster_is_never_dearer_per_example(price: float, power: float, speed: float) -> None:
    """At the same price and power, twice the speed costs half."""
    assert cost_per_million(price, power, 2 * speed, PLAIN) == pytest.approx(
        cost_per_million(price, power, speed, PLAIN) / 2
    )


@pytest.mark.parametrize(
    "change", [{"hours_per_day": 25}, {"years": 0}, {"resale_ratio": 1.5}, {"electricity_per_kwh": -1}]
)
def test_impossible_assumptions_are_refused(change: dict[str, float]) -> None:
    """An assumption no machine can have is told with its limits."""
    with pytest.raises(UsageError, match=next(iter(change))):
        msgspec.structs.replace(PLAIN, **change).checked()
