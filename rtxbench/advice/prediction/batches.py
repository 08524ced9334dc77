"""The batch a card nobody measured would have been run at: one that fits.

Published batches are about the largest that fit. Where the model's memory need is known, the card's own batch fills its
memory to the same share as the anchors' batches fill theirs, the part that does not grow with the batch included;
elsewhere the batch is in proportion to memory.
"""

import math
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from rtxbench.advice.memory.models import MODELS, NETWORKS
from rtxbench.advice.memory.need import Need, Setup, largest_batch, network_need, training_need
from rtxbench.advice.prediction.points import Experiment, Points
from rtxbench.catalog.cards import Card
from rtxbench.catalog.published import workload_of

__all__ = ["fitting_batch", "published_need", "scaled_batch"]


def fitting_batch(card: Card, case: Experiment, anchors: Points, cards: Mapping[str, Card]) -> int:
    """Largest batch of ``case`` that fills ``card`` as the anchors' fill theirs; 0: not one example fits."""
    need = published_need(case)
    proportional = scaled_batch(card, anchors, cards)
    if need is None:
        return proportional
    shares = [
        need(round(math.exp(log_batch))) / cards[str(name)].memory_bytes
        for name, log_batch in zip(anchors.card, anchors.log_batch, strict=True)
    ]
    share = min(1.0, math.exp(float(np.mean(np.log(shares)))))
    return min(
        largest_batch(need, share * card.memory_bytes), max(proportional, int(math.exp(anchors.log_batch.max())))
    )


@cache  # every card is asked about the same few models
def published_need(case: Experiment) -> Callable[[int], float] | None:
    """Bound the bytes of a training step by batch, for a published model that is known."""
    workload, tokens = workload_of(case.model)

    @cache
    def need(batch: int) -> float:
        """Return the upper bound of the bytes that a step at this batch needs."""
        setup = Setup(batch_size=batch, tokens=tokens, precision=case.precision)
        found: Need = (
            network_need(NETWORKS[workload], setup) if workload in NETWORKS else training_need(MODELS[workload], setup)
        )
        return found.high_bytes

    return need if workload in NETWORKS or workload in MODELS else None


def scaled_batch(card: Card, anchors: Points, cards: Mapping[str, Card]) -> int:
    """Scale the anchors' batch per byte of memory (geometric mean) to the card's memory, at least 1."""
    per_byte = anchors.log_batch - np.log([cards[str(name)].memory_bytes for name in anchors.card])
    return max(1, int(math.exp(float(per_byte.mean())) * card.memory_bytes * 1.000001))
