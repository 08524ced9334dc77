"""Labels that every figure of a known topic carries because its readers look them up or compute with them.

A stranger's record of the topic ``gate`` without a commit is no gate's. A new reader of a label adds a row here rather
than a check where it reads.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from rtxbench.records import GATE_SELFTEST_TOPIC, GATE_TOPIC, Observation

__all__ = ["NEEDS", "Needs", "topic_problem"]

_LONGEST_NUMBER: Final = 30


class Needs(NamedTuple):
    """Demands on an observation that has values or an estimate."""

    labels: tuple[str, ...] = ()
    """Present and not empty."""
    numbers: tuple[str, ...] = ()
    """Labels that are finite numbers, of zero or more; they may be absent unless they are among ``labels``."""
    positive: bool = False
    """Its values are more than nothing: they are drawn on a logarithmic axis."""
    launch: bool = False
    """Its values are the blocks of one launch of two arms (two rounds of two each), with an estimate beside them."""


_ARM: Final = Needs(("arm",))
_PIPELINE: Final = Needs(("pipeline",))
_FORMAT: Final = Needs(("format",))
_POSITIVE: Final = Needs(positive=True)

NEEDS: Final[Mapping[str, Mapping[str, Needs]]] = {
    "equal-quality": dict.fromkeys(
        (
            "validation_accuracy_ratio",
            "test_accuracy_ratio",
            "time_to_accuracy_s",
            "epochs_to_accuracy",
            "loss_scale_overflows",
        ),
        _ARM,
    ),
    "augmentation": {
        **dict.fromkeys(("test_accuracy_ratio", "corrupted_test_accuracy_ratio", "shifted_test_accuracy_ratio"), _ARM),
        **dict.fromkeys(
            (
                "pipeline_examples_per_s",
                "training_examples_per_s",
                "training_speed_kept_ratio",
                "input_wait_ratio",
            ),
            _PIPELINE,
        ),
    },
    "tuning": {"time_to_accuracy_s": _ARM, "epochs": _ARM, "largest_batch_size": Needs(("limit", "tries"))},
    "deployment": {
        **dict.fromkeys(("probability_difference", "size_bytes", "save_s", "load_s"), _FORMAT),
        **dict.fromkeys(("latency_p50_s", "latency_p99_s"), _POSITIVE),
    },
    "step-evidence": {"link_all_reduce_s": Needs(("bytes",), ("bytes",))},
    GATE_TOPIC: {"log_ratio": Needs(("case", "reference", "commit", "outcome"), ("margin_ratio",))},
    GATE_SELFTEST_TOPIC: {
        "log_ratio": Needs(("case", "outcome", "launches", "planted_ratio"), ("launches", "planted_ratio")),
        "step_time_s": Needs(("case", "planted_ratio"), ("planted_ratio",), launch=True),
    },
}
"""Topic → metric → what its readers rely on."""


def topic_problem(record: Observation) -> str | None:
    """Return what a record of its topic cannot be without, or ``None``."""
    needs = NEEDS.get(record.topic, {}).get(record.metric)
    if needs is None or (not record.values and record.estimate is None):
        return None
    what = f"{record.topic}'s {record.metric}"
    lacking = [name for name in needs.labels if not record.labels.get(name, "").strip()]
    if lacking:
        return f"{what} without its label {lacking[0]!r}"
    odd = [name for name in needs.numbers if not _is_amount(record.labels.get(name, "0"))]
    if odd:
        return f"{what} with {odd[0]} of {record.labels[odd[0]][:_LONGEST_NUMBER]!r}"
    if needs.positive and record.values and not _all_positive(record):
        return f"{what} of nothing or less"
    if needs.launch and (record.estimate is None or len(record.values) % 4 or not _all_positive(record)):
        return f"{what} whose values are no launch of two arms"
    return None


def _is_amount(text: str) -> bool:
    try:
        return len(text) <= _LONGEST_NUMBER and 0 <= float(text) < math.inf
    except ValueError:
        return False


def _all_positive(record: Observation) -> bool:
    return bool(record.values) and min(record.values) > 0
