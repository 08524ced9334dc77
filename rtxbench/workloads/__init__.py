"""Keras 3 models and input pipelines, engine-neutral. `WORKLOADS` is the table to extend.

A training step is built by an engine; which workloads a claim measures is said in `bench/claims.toml`.
"""

from typing import Final

from rtxbench.lookup import named
from rtxbench.records import Case
from rtxbench.workloads.dense import DENSE
from rtxbench.workloads.language import LANGUAGE
from rtxbench.workloads.own import OwnModel, is_own, own_workload
from rtxbench.workloads.small_models import COMPACT
from rtxbench.workloads.vision import VISION
from rtxbench.workloads.workload import Workload

__all__ = ["WORKLOADS", "Workload", "workload_named", "workload_of"]

WORKLOADS: Final[dict[str, Workload]] = {row.name: row for row in (*DENSE, *VISION, *LANGUAGE, *COMPACT)}


def workload_named(name: str) -> Workload:
    """Look up a workload by name.

    Raises:
        UsageError: there is none; the nearest names are offered.
    """
    return named(WORKLOADS, name, "workload")


def workload_of(case: Case, seed: int = 0, sample: OwnModel | None = None) -> Workload:
    """Give what a case trains: a row of `WORKLOADS`, or a user's own Keras model.

    Args:
        case: what to train.
        seed: of a user's own model and batch.
        sample: what the user's function returned, where it was called before: its batch is taken.

    Raises:
        UsageError: no workload of that name.
    """
    return own_workload(case, seed, sample) if is_own(case.workload) else workload_named(case.workload)
