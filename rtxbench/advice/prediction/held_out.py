"""Errors of the chosen laws on cards they had not seen: those that every range rests on.

Computing them fits the kernel law once for every two cards (half a minute), so they are kept in
``rtxbench/catalog/held_out.csv``, which ``python -m tools.prediction_page --errors`` writes; a test computes some anew.
"""

import csv
import math
from functools import cache
from importlib import resources
from typing import Final, TextIO

import numpy as np

from rtxbench.advice.prediction.points import Floats, Points
from rtxbench.advice.prediction.ratios import PairError, pair_errors
from rtxbench.advice.prediction.scaling_laws import CHOSEN_METHODS, METHODS, first_that_speaks, leave_one_card_out

__all__ = ["errors_across", "held_out_errors", "left_out_errors", "write_held_out"]

_COLUMNS: Final = ("card", "other", "stack", "model", "precision", "log_error", "log_ratio", "log_error_across")


def left_out_errors(points: Points) -> Floats:
    """Compute the log error (n) of every point predicted without its card; NaN where nothing could anchor it."""
    return first_that_speaks([leave_one_card_out(points, *choice) for choice in CHOSEN_METHODS]) - points.log_throughput


def errors_across(points: Points) -> Floats:
    """Compute the log error (n) of every point predicted from other card classes alone; NaN where there is no law."""
    crossing = [choice for choice in CHOSEN_METHODS if METHODS[choice[0]].crosses_classes]
    return leave_one_card_out(points, *crossing[0], own_class=False) - points.log_throughput


def held_out_errors(points: Points) -> tuple[Floats, Floats, tuple[PairError, ...]]:
    """Look up the log errors (n, NaN where there is none) of ``points``, from other classes alone, and of ratios."""
    single, pairs = _table()
    keys = [tuple(map(str, key)) for key in zip(points.card, points.stack, points.model, points.precision, strict=True)]
    found = np.array([single.get(key, (math.nan, math.nan)) for key in keys])
    return found[:, 0], found[:, 1], pairs


def write_held_out(points: Points, stream: TextIO) -> None:
    """Compute both and write them."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    columns = (
        points.card,
        points.stack,
        points.model,
        points.precision,
        left_out_errors(points),
        errors_across(points),
    )
    for card, stack, model, precision, error, across in zip(*columns, strict=True):
        if not math.isnan(error):
            told = "" if math.isnan(across) else f"{across:.4f}"
            writer.writerow([card, "", stack, model, precision, f"{error:.4f}", "", told])
    for pair in pair_errors(points, CHOSEN_METHODS):
        writer.writerow([*pair.cards, "", pair.model, "", f"{pair.log_error:.4f}", f"{pair.log_ratio:.4f}", ""])


@cache
def _table() -> tuple[dict[tuple[str, ...], tuple[float, float]], tuple[PairError, ...]]:
    single: dict[tuple[str, ...], tuple[float, float]] = {}
    pairs = []
    with resources.files("rtxbench.catalog").joinpath("held_out.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            error = float(row["log_error"])
            if row["other"]:
                cards = (row["card"], row["other"])
                pairs.append(PairError(error, float(row["log_ratio"]), cards, row["model"]))
            else:
                key = (row["card"], row["stack"], row["model"], row["precision"])
                single[key] = (error, float(row["log_error_across"] or "nan"))
    return single, tuple(pairs)
