"""Trainings that ended early say how far their ratio would have gone, against courses whose end is known."""

import math

import numpy as np
import pytest

from rtxbench.trials.unfinished import unfinished

EPOCHS = np.arange(1, 13)
IMAGES = 100_000


def course(power: float, start: float, seed: int = 0) -> list[float]:
    """Accuracies whose errors fall as a power of the epoch."""
    noise = np.random.default_rng(seed).normal(0, 0.001, len(EPOCHS))
    return list(1 - start * EPOCHS**-power * np.exp(noise))


def test_a_power_law_is_carried_on() -> None:
    """Errors falling as epoch^-0.5 against epoch^-0.2 come a factor 4^0.3 apart in four times the epochs."""
    slow = [course(0.2, 0.5, seed) for seed in range(5)]
    fast = [course(0.5, 0.5, seed + 9) for seed in range(5)]
    found = unfinished("slow", "fast", slow, fast, IMAGES)
    assert found.log_ratio == pytest.approx(0.3 * math.log(4), rel=0.05)
    assert [flag.severity for flag in found.flags] == ["warn", "warn"]


def test_arms_that_improve_alike_do_not_move_their_ratio() -> None:
    """Both gain points in the last quarter, and nothing speaks for a movement between them."""
    arms = [[course(0.3, 0.5, seed + offset) for seed in range(5)] for offset in (0, 9)]
    found = unfinished("one", "other", *arms, images=IMAGES)
    assert found.log_ratio is None or abs(found.log_ratio) < 0.01
    assert [flag.detail.split()[0] for flag in found.flags] == ["one", "other"]


def test_finished_trainings_have_no_flag() -> None:
    """Accuracies that stand still are flagged by nothing and move nowhere."""
    still = [[0.9 + 0.0001 * seed] * 12 for seed in range(5)]
    assert unfinished("one", "other", still, still, IMAGES) == (None, ())


def test_a_quarter_of_one_epoch_shows_nothing() -> None:
    """Seven epochs void the pair, whatever they show."""
    flags = unfinished("one", "other", [[0.9] * 7] * 5, [[0.9] * 7] * 5, IMAGES).flags
    assert [(flag.code, flag.severity) for flag in flags] == [("not-converged", "invalid")]
