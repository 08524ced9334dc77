"""Trainings that ended while they still improved: how far their ratio would have gone.

Errors fall about as a power of the examples seen (Hestness et al. 2017, arXiv:1712.00409), so the ratio of two arms'
errors moves evenly in the logarithm of the epochs. What it moved from the third quarter of the epochs to the last one
is carried on to trainings four times as long. That is a caution, never a result: a verdict stands only where it would
stand there, too.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Final, NamedTuple

from rtxbench.records import Flag
from rtxbench.stats import launch_estimate
from rtxbench.units import format_percent

__all__ = ["FINISHED", "Unfinished", "images_per_error", "unfinished"]

_LEAST_QUARTER_EPOCHS: Final = 2
"""A quarter of one epoch shows chance: of six epochs of augmented training the last often gains nothing, and six more
gain ten points."""
_NOTED_GAIN: Final = 0.01
"""A training that gains more than one point of accuracy in its last quarter has not shown what it can reach."""
_LONGER: Final = 4.0
"""Times as many epochs: what `standard` and `full` train beyond `quick`, in steps."""
_QUARTERS_APART: Final = math.log(0.875 / 0.625)
"""From the middle of the third quarter to that of the last, in log epochs."""
_CONFIDENCE: Final = 0.80


class Unfinished(NamedTuple):
    """Movement that a pair of arms had before it when its trainings ended."""

    log_ratio: float | None
    """Movement of candidate ÷ baseline of images per error; ``None`` where the seeds agree on none."""
    flags: tuple[Flag, ...] = ()


FINISHED: Final = Unfinished(None)


def unfinished(
    baseline: str,
    candidate: str,
    baseline_courses: Sequence[Sequence[float]],
    candidate_courses: Sequence[Sequence[float]],
    images: int,
) -> Unfinished:
    """Carry the movement of two arms' errors on to longer trainings.

    Args:
        baseline: name of the arm.
        candidate: likewise.
        baseline_courses: validation accuracy after every epoch, one sequence a seed.
        candidate_courses: likewise, the same seeds.
        images: that one accuracy was counted on.

    Returns:
        The movement, and a flag for an arm that still improved; one that voids the pair where there were too few
        epochs to see.
    """
    epochs = min(len(course) for courses in (baseline_courses, candidate_courses) for course in courses)
    quarter = epochs // 4
    if quarter < _LEAST_QUARTER_EPOCHS:
        detail = f"{epochs} epochs are too few to see whether {baseline} and {candidate} had stopped improving"
        return Unfinished(None, (Flag(code="not-converged", severity="invalid", detail=detail),))
    pairs = zip(baseline_courses, candidate_courses, strict=True)
    moved = [_moved(second, quarter, images) - _moved(first, quarter, images) for first, second in pairs]
    named = ((baseline, baseline_courses), (candidate, candidate_courses))
    flags = tuple(flag for name, courses in named if (flag := _still_improving(name, courses, quarter)) is not None)
    return Unfinished(_carried_on(moved), flags)


def _moved(course: Sequence[float], quarter: int, images: int) -> float:
    """Change of the logarithm of images per error from one quarter to the next."""
    before, last = fmean(course[-2 * quarter : -quarter]), fmean(course[-quarter:])
    return math.log(images_per_error(last, images) / images_per_error(before, images))


def _carried_on(moved: Sequence[float]) -> float | None:
    """Return the movement to be expected; ``None`` where its interval over the seeds holds none at all."""
    found = launch_estimate(moved, _CONFIDENCE)
    if found.low is None or found.high is None or found.low <= 0.0 <= found.high:
        return None
    return found.value / _QUARTERS_APART * math.log(_LONGER)


def _still_improving(name: str, courses: Sequence[Sequence[float]], quarter: int) -> Flag | None:
    gain = fmean(fmean(course[-quarter:]) - fmean(course[-2 * quarter : -quarter]) for course in courses)
    if gain <= _NOTED_GAIN:
        return None
    detail = (
        f"{name} was still improving when training ended: {format_percent(gain)} more validation accuracy in the "
        "last quarter of the epochs than in the quarter before"
    )
    return Flag(code="not-converged", severity="warn", detail=detail)


def images_per_error(accuracy: float, images: int) -> float:
    """Divide images by wrong answers; half an error is added, so that none wrong is a number, too.

    Above 1 in a ratio the candidate errs less. A ratio of accuracies hides errors: 2 % of it is three times as many of
    them at 99 %.
    """
    return (images + 1) / (round((1 - accuracy) * images) + 0.5)
