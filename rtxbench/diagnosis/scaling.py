"""Scaling over nodes, predicted: a step on one node, the bytes of its gradients, and a link.

A ring all-reduce of n ranks sends 2 (n - 1) / n of the bytes over each link, in 2 (n - 1) messages one after another
(Patarasuk and Yuan, 2009). How much of it hides behind the step is the framework's matter, so a prediction is a range:
nothing hidden, and all hidden that can be, which is what runs beside the backward pass.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from rtxbench.errors import UsageError

__all__ = ["LINK_SIZES_BYTES", "LinkModel", "NodesPrediction", "fitted_link", "link_named", "predicted_step", "ring"]

LINK_SIZES_BYTES: Final = (4 * 2**10, 64 * 2**10, 2**20, 8 * 2**20, 64 * 2**20)
_BACKWARD_SHARE: Final = 2 / 3
"""Of a training step's work: two products for each one of the forward pass."""
_TYPICAL_LATENCY_S: Final = 50e-6
"""One message between two processes over TCP in one rack; a guess, used where the user names no latency."""
_UNITS: Final = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


class LinkModel(NamedTuple):
    """Time of an all-reduce: a constant, and so much for each byte."""

    constant_s: float
    bytes_per_s: float
    """Bytes summed per second, which is less than the link carries."""

    def all_reduce_s(self, size_bytes: float) -> float:
        """Return the seconds in which so many bytes are summed."""
        return self.constant_s + size_bytes / self.bytes_per_s


class NodesPrediction(NamedTuple):
    """A step over several nodes, predicted."""

    all_reduce_s: float
    least_step_s: float
    """The all-reduce runs beside the backward pass as far as it can."""
    most_step_s: float
    """Nothing is hidden."""


def ring(bit_per_s: float, ranks: int, latency_s: float = _TYPICAL_LATENCY_S) -> LinkModel:
    """Model a ring all-reduce over links of a given speed.

    Args:
        bit_per_s: of each rank's link, in each direction.
        ranks: on as many links.
        latency_s: of one message.
    """
    return LinkModel(2 * (ranks - 1) * latency_s, bit_per_s / 8 * ranks / (2 * (ranks - 1)))


def link_named(text: str) -> float:
    """Read a link's speed, ``10Gbit`` or ``100 Mbit/s``, in bit/s.

    Raises:
        UsageError: it is none.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)bit(?:/s)?\s*", text)
    if match is None or float(match[1]) <= 0:
        raise UsageError(f"{text!r} is no speed of a link.", next_step="Write it as 10Gbit or 100Mbit.")
    return float(match[1]) * _UNITS[match[2]]


def fitted_link(seconds: Mapping[int, float]) -> LinkModel:
    """Fit constant and rate to measured all-reduces, each size counting by its relative error.

    Args:
        seconds: of each size in bytes; two sizes at least.
    """
    sizes, times = np.array(list(seconds)), np.array(list(seconds.values()))
    slope, constant = np.polyfit(sizes, times, 1, w=1 / times)
    return LinkModel(max(float(constant), 0.0), 1 / max(float(slope), 1e-15))


def predicted_step(compute_s: float, gradient_bytes: float, link: LinkModel) -> NodesPrediction:
    """Predict a step over several nodes.

    Args:
        compute_s: of one node's share of the batch, with nothing to sum.
        gradient_bytes: of one replica.
        link: how long the nodes take to sum them.
    """
    communication_s = link.all_reduce_s(gradient_bytes)
    hidden_s = max(compute_s, (1 - _BACKWARD_SHARE) * compute_s + communication_s)
    return NodesPrediction(communication_s, hidden_s, compute_s + communication_s)
