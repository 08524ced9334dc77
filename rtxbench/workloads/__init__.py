"""Keras 3 models and input pipelines, engine-neutral. `WORKLOADS` is the table to extend."""

from typing import Final

from rtxbench.lookup import named
from rtxbench.workloads.base import Workload
from rtxbench.workloads.dense import DENSE
from rtxbench.workloads.language import LANGUAGE
from rtxbench.workloads.small_models import COMPACT
from rtxbench.workloads.vision import VISION

__all__ = ["WORKLOADS", "Workload", "workload_named"]

WORKLOADS: Final[dict[str, Workload]] = {row.name: row for row in (*DENSE, *VISION, *LANGUAGE, *COMPACT)}


def workload_named(name: str) -> Workload:
    """The row of that name.

    Raises:
        UsageError: there is none; the nearest names are offered.
    """
    return named(WORKLOADS, name, "workload")
