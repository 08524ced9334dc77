"""Several devices under JAX: ``keras.distribution`` over real GPUs, or over logical CPU devices as a functional check.

Under `DataParallel` the compiled program sees the global batch: batch normalisation normalises over all of it, where
MirroredStrategy and DDP normalise over each replica's share. The compiler inserts the all-reduce.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from rtxbench.engines.refusals import way_of
from rtxbench.errors import UnavailableError
from rtxbench.placement import placement_named
from rtxbench.records import Case

__all__ = ["STRATEGIES", "distribution_for", "with_logical_cpus"]


def with_logical_cpus(jax: Any, count: int, *, untouched: bool) -> None:
    """Let the CPU appear as ``count`` devices.

    Args:
        jax: the module.
        count: devices wanted.
        untouched: whether nothing was built in this process, so that the backend may be started again.

    Raises:
        UnavailableError: the CPU already runs as fewer devices.
    """
    if len(jax.devices("cpu")) >= count:
        return
    if not untouched:
        raise UnavailableError(
            "the CPU was already started as one device in this process.", next_step="Use a worker of its own."
        )
    from jax.extend.backend import clear_backends

    clear_backends()
    jax.config.update("jax_num_cpu_devices", count)


@contextmanager
def distribution_for(case: Case) -> Iterator[Callable[[Any], Any]]:
    """Build the model inside: its variables lie as the case's placement says. Yields what places a batch array.

    Raises:
        UnavailableError: fewer devices than the case asks for, or a batch they cannot share.
    """
    import keras

    distribute = way_of(STRATEGIES, case)
    if distribute is None:
        yield keras.ops.convert_to_tensor
        return
    distribution = distribute(_device_names(case))
    kept = keras.distribution.distribution()
    keras.distribution.set_distribution(distribution)

    def place(array: Any) -> Any:
        return keras.distribution.distribute_tensor(
            keras.ops.convert_to_tensor(array), distribution.get_data_layout(array.shape)
        )

    try:
        yield place
    finally:
        keras.distribution.set_distribution(kept)


def _device_names(case: Case) -> list[str]:
    import keras

    placement = placement_named(case.placement)
    names = list(keras.distribution.list_devices(placement.device_kind))
    if len(names) < case.device_count or (placement.all_reduces and case.batch_size % case.device_count):
        raise UnavailableError(
            f"{case.label} wants {case.device_count} devices for {case.batch_size} examples; {len(names)} found.",
            next_step="Lower the device count, or choose a batch size it divides.",
        )
    return names[: case.device_count]


def _data_parallel(names: list[str]) -> Any:
    import keras

    return keras.distribution.DataParallel(devices=names)


def _model_parallel(names: list[str]) -> Any:
    """Split every variable of two or more axes over its last one where that divides; replicate the rest.

    The last axis of a Keras kernel or embedding is its output width, so each device computes a slice of every
    layer's features: the tensor-parallel layout that needs no rule per model.
    """
    import keras

    class SplitLastAxis(keras.distribution.ModelParallel):  # type: ignore[misc]  # Keras is untyped
        def get_variable_layout(self, variable: Any) -> Any:
            """Return a `TensorLayout` over the mesh axes (batch, model)."""
            shape = tuple(variable.shape)
            split = len(shape) >= 2 and shape[-1] % len(names) == 0
            axes = [None] * len(shape) if not split else [*[None] * (len(shape) - 1), "model"]
            return keras.distribution.TensorLayout(axes, self.device_mesh)

    mesh = keras.distribution.DeviceMesh(shape=(1, len(names)), axis_names=("batch", "model"), devices=names)
    return SplitLastAxis(layout_map=keras.distribution.LayoutMap(mesh), batch_dim_name="batch")


STRATEGIES: Final[dict[str, Callable[[list[str]], Any] | None]] = {
    "single": None,
    "data-parallel": _data_parallel,
    "data-parallel-nodes": _data_parallel,  # in a rank, which sees the devices of all
    "model-parallel": _model_parallel,
}
"""Strategy of a placement → the distribution over the devices of these names; none for one device."""
