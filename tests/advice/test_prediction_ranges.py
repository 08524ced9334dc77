import numpy as np
import pytest

from rtxbench.advice.prediction.points import Experiment, Points, points_of
from rtxbench.advice.prediction.ranges import anchor_counts, card_conformal, fit_ranges, support_of, supports
from rtxbench.advice.prediction.ratios import FAR, PairError, fit_pair_errors, fit_stack_ratios, stack_errors
from rtxbench.catalog.cards import load_cards

CARDS = load_cards()
NAMES = ("GeForce RTX 3060 12GB", "GeForce RTX 3070", "GeForce RTX 3080 10GB", "GeForce RTX 3090")
OLD, NEW = "pytorch-ngc-20.10", "pytorch-1.13-ngc-22.10"


def world(models: int = 10, stack: str = "stack") -> Points:
    """One figure of each of four cards on each model."""
    return points_of(
        [
            (CARDS[name], Experiment(stack, f"m{m}", "tf32"), 8, 100.0 * (1 + i))
            for i, name in enumerate(NAMES)
            for m in range(models)
        ]
    )


def test_a_model_that_is_hard_to_predict_has_a_wider_range() -> None:
    """Errors of 30 % on one model and 5 % on the others: its range is wider, and the others' is not that of all."""
    points = world()
    errors = np.where(points.model == "m0", 0.30, 0.05) * np.where(np.arange(len(points)) % 2, 1, -1)
    ranges = fit_ranges(points, errors, errors, supports(points))
    assert ranges.spread("m0") > 2 * ranges.spread("m1")
    assert ranges.log_half_width("m0", "stack", "several") > ranges.log_half_width("m1", "stack", "several")
    assert ranges.spread("never seen") == ranges.overall


def test_one_anchor_has_a_wider_range_than_two() -> None:
    """A single card's own error is not averaged: its range is at least √(4/3) that of two."""
    points = world()
    errors = np.random.default_rng(0).normal(0, 0.1, len(points))
    ranges = fit_ranges(points, errors, errors, supports(points))
    assert ranges.log_half_width("m1", "stack", "one") >= 1.15 * ranges.log_half_width("m1", "stack", "several")


def test_anchors_are_other_cards_of_the_group() -> None:
    """Four cards of one class: each has three anchors, of its own class."""
    assert set(anchor_counts(world())) == {3}
    assert set(supports(world())) == {"several"}


def test_anchors_of_other_classes_alone_are_a_support_of_their_own() -> None:
    """Own class and count decide: one card, several, or none of the card's own class."""
    assert [support_of(*counts) for counts in ((1, 0), (2, 0), (1, 3), (0, 1), (0, 4))] == [
        *("one", "several", "several"),
        *("other classes", "other classes"),
    ]


def test_a_noisy_table_has_wider_ranges() -> None:
    """Errors of 30 % in one stack and of 5 % in another, on the same models: the first's ranges are wider."""
    points = points_of(
        [
            (CARDS[name], Experiment(stack, f"m{m}", "tf32"), 8, 100.0 * (1 + i))
            for stack in ("noisy", "quiet")
            for i, name in enumerate(NAMES)
            for m in range(10)
        ]
    )
    errors = np.where(points.stack == "noisy", 0.30, 0.05) * np.where(np.arange(len(points)) % 2, 1, -1)
    ranges = fit_ranges(points, errors, errors, supports(points))
    noisy, quiet = (ranges.log_half_width("m1", stack, "several") for stack in ("noisy", "quiet"))
    assert noisy > 1.2 * quiet
    assert ranges.log_half_width("m1", "never seen", "several") < noisy


def test_a_card_that_errs_as_a_whole_raises_the_quantile() -> None:
    """One of four cards is off in all of its figures: the quantile is raised until a card like it is covered."""
    cards = np.repeat(np.array(NAMES), 20)
    scores = np.where(cards == NAMES[0], 3.0, 1.0) + np.linspace(0, 0.1, 80)
    spread_evenly = np.tile(np.where(np.arange(20) < 5, 3.0, 1.0), 4) + np.linspace(0, 0.1, 80)
    assert card_conformal(scores, cards) >= card_conformal(spread_evenly, cards) - 0.1
    assert card_conformal(scores, cards) >= 3.0


def test_pairs_far_apart_are_never_stated_narrower() -> None:
    """Ratios that the law puts far apart get at least the range of those close together."""
    errors = [PairError(0.05 * (1 + i % 3), (0.1, 2 * FAR)[i % 2], NAMES[:2], "m") for i in range(60)]
    widths = fit_pair_errors(errors, lambda _: 0.1)
    assert widths.log_half_width(2 * FAR, 0.1) >= widths.log_half_width(0.1, 0.1) > 0.05


def test_a_publishers_ratio_carries_over_exactly() -> None:
    """Where a second stack is a constant times the first, the ratio predicts every card without error."""
    entries = [
        (CARDS[name], Experiment(stack, f"m{m}", "tf32"), 8, speed * (10.0 + i + m))
        for stack, speed in ((OLD, 1.0), (NEW, 1.7))
        for i, name in enumerate(NAMES)
        for m in range(4)
    ]
    points = points_of(entries)
    errors, names = stack_errors(points)
    assert len(errors) == len(points)
    assert set(names) == set(NAMES)
    ratios = fit_stack_ratios(points)
    assert np.abs(errors).max() < 1e-9
    found = ratios.predict(NAMES[0], Experiment(NEW, "m0", "tf32"))
    assert found is not None
    assert np.exp(found[0]) == pytest.approx(17.0)
    assert ratios.predict(NAMES[0], Experiment("another stack", "m0", "tf32")) is None
