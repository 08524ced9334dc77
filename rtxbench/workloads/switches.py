"""Switches of a training step that change its speed or memory and not what it trains; a case's variant names them."""

from collections.abc import Iterable, Mapping
from typing import Final

__all__ = ["SWITCHES", "joined", "switches_of"]

SWITCHES: Final[Mapping[str, str]] = {
    "accumulate-4": "the batch in four accumulated parts",
    "channels-last": "channels-last memory",
    "checkpointing": "gradient checkpointing",
    "cudnn-benchmark": "cuDNN's search for the fastest convolution",
    "eager-attention": "attention written out",
    "fused-optimizer": "a fused optimizer",
    "sdpa-attention": "SDPA attention",
}
"""Switch → what a reader calls it."""
_PLUS: Final = "+"


def switches_of(variant: str) -> tuple[str, ...]:
    """Split the variant of a case of a user's own model: ``channels-last+fused-optimizer``."""
    return tuple(filter(None, variant.split(_PLUS)))


def joined(switches: Iterable[str]) -> str:
    """Name the variant of some switches; their order does not matter."""
    return _PLUS.join(sorted(set(switches)))
