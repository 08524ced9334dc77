"""Sizes of the trials per profile. Quick fits all trials into eight minutes on two quiet CPU cores."""

from dataclasses import dataclass
from typing import Final

from rtxbench.trials.messages import DataSpec

__all__ = ["SCALES", "TARGET_ACCURACIES", "Sizes"]

TARGET_ACCURACIES: Final[dict[str, float]] = {"generated-digits-v1": 0.90, "mnist": 0.97}
"""Data set → validation accuracy that is clocked, fixed before anything was measured: past the steep part of the
learning curve, short of its ceiling."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """One profile's counts. ``seeds`` is the number of independent replicates of every comparison."""

    seeds: int
    train: int
    validation: int
    test: int
    quality_epochs: int
    stopping_budgets: tuple[int, ...]
    """Epochs a training is given with and without EarlyStopping; the first is the article's and is judged."""
    augmented_train: int
    augmentation_epochs: int
    learning_rates: tuple[float, ...]
    batch_sizes: tuple[int, ...]
    latency_batches: tuple[int, ...]
    requests: int
    repeats: int
    memory_limit_bytes: int
    """Host memory a CPU may use beyond what the process holds when the batch-size search begins."""
    flip_arm: bool = False
    """Augmentation is also run without the horizontal flip."""

    def data(self, seed: int, train: int | None = None, *, upright: bool = False) -> DataSpec:
        """Draw the images of this scale from ``seed``, of which ``train`` for training where given."""
        return DataSpec(
            train=train or self.train, validation=self.validation, test=self.test, seed=seed, upright=upright
        )


SCALES: Final[dict[str, Sizes]] = {
    "smoke": Sizes(  # for tests: proves the path, never a claim (fewer than five seeds)
        seeds=2,
        train=300,
        validation=200,
        test=200,
        quality_epochs=2,
        stopping_budgets=(5,),
        augmented_train=200,
        augmentation_epochs=1,
        learning_rates=(1e-3, 1e-2),
        batch_sizes=(32,),
        latency_batches=(1,),
        requests=10,
        repeats=2,
        memory_limit_bytes=300 * 2**20,
    ),
    "quick": Sizes(
        seeds=5,
        train=2000,
        validation=1000,
        test=4000,
        quality_epochs=10,
        stopping_budgets=(10, 16),
        augmented_train=1500,
        augmentation_epochs=8,
        learning_rates=(1e-3, 3e-3, 1e-2),
        batch_sizes=(32, 128),
        latency_batches=(1, 32),
        requests=100,
        repeats=5,
        memory_limit_bytes=2**29,
    ),
    "standard": Sizes(
        seeds=8,
        train=10_000,
        validation=4000,
        test=4000,
        quality_epochs=12,
        stopping_budgets=(10, 20, 40),
        augmented_train=6000,
        augmentation_epochs=20,
        learning_rates=(3e-4, 1e-3, 3e-3, 1e-2),
        batch_sizes=(32, 128, 512),
        latency_batches=(1, 8, 32, 128),
        requests=300,
        repeats=5,
        memory_limit_bytes=4 * 2**30,
        flip_arm=True,
    ),
    "full": Sizes(
        seeds=12,
        train=50_000,
        validation=10_000,
        test=10_000,
        quality_epochs=15,
        stopping_budgets=(10, 20, 40, 60),
        augmented_train=20_000,
        augmentation_epochs=30,
        learning_rates=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
        batch_sizes=(32, 128, 512, 2048),
        latency_batches=(1, 8, 32, 128, 512),
        requests=1000,
        repeats=8,
        memory_limit_bytes=8 * 2**30,
        flip_arm=True,
    ),
}
"""Profile name → counts; the names are those of `rtxbench.measure.profiles.PROFILES`."""
