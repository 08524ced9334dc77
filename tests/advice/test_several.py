import pytest

from rtxbench.advice.prediction.points import Experiment
from rtxbench.advice.several import Pair, efficiency_of, pairs_of
from rtxbench.catalog.cards import load_cards
from rtxbench.catalog.published import curated
from tests.catalog.test_published import row
from tools.cross_validation import several_checks

CARDS = load_cards()
A5000, RTX4080 = CARDS["RTX A5000"], CARDS["GeForce RTX 4080"]
CASE = Experiment("stack", "m", "tf32")


def pair(card: str = "RTX A5000", model: str = "m", ratio: float = 0.9) -> Pair:
    return Pair(card, CARDS[card].card_class, model, "tf32", ratio)


def test_a_pair_is_held_against_one_at_the_same_batch_a_card() -> None:
    """190 a second on two against 100 on one at the same batch each is 95 %; another batch of one does not count."""
    rows = [row(), row(batch_size=4, value=60.0), row(device_count=2, batch_size=16, value=190.0)]
    assert [p.efficiency_ratio for p in pairs_of(rows, CARDS)] == [pytest.approx(0.95)]


def test_more_cards_follow_the_ring() -> None:
    """A pair at 90 % loses 1/9 of its time; four lose 1.5 times and eight 1.75 times that, by hand."""
    pairs = [pair() for _ in range(5)]
    for count, traffic in ((2, 1.0), (4, 1.5), (8, 1.75)):
        kept = efficiency_of(A5000, CASE, count, pairs)
        assert kept is not None
        assert kept.ratio == pytest.approx(1 / (1 + traffic / 9))


def test_the_nearest_pairs_decide() -> None:
    """The same card and model before the class's model before the class; another class says nothing."""
    own, model, other = pair(ratio=0.95), pair("RTX A6000", ratio=0.9), pair("RTX A4000", "x", 0.8)
    for pairs, expected in (((own, model, other), 0.95), ((model, other), 0.9), ((other,), 0.8)):
        kept = efficiency_of(A5000, CASE, 2, pairs)
        assert kept is not None
        assert kept.ratio == pytest.approx(expected)
        assert kept.low_ratio <= kept.ratio <= kept.high_ratio
    assert efficiency_of(RTX4080, CASE, 2, (own, model, other)) is None


def test_eight_geforce_cards_are_not_known() -> None:
    """Four GeForce cards have an efficiency, eight have none."""
    pairs = [pair("GeForce RTX 3090") for _ in range(5)]
    assert efficiency_of(RTX4080, CASE, 4, pairs) is not None
    assert efficiency_of(RTX4080, CASE, 8, pairs) is None


def test_a_left_out_cards_pairs_are_met() -> None:
    """From the other cards' pairs, a card's own are met within 10 % (median), and the ranges cover four of five."""
    checks = [check for check in several_checks(curated().kept, CARDS) if check.cards == 2]
    for name in ("geforce", "workstation"):
        errors = sorted(check.error_ratio for check in checks if check.card_class == name)
        assert len(errors) > 40
        assert errors[len(errors) // 2] <= 0.10
        assert sum(check.inside for check in checks if check.card_class == name) >= 0.80 * len(errors)
