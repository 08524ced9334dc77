"""Lend `rtxbench.diagnosis.ceilings` what it needs of each engine: placement, synchronisation, switches, tracing."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, Final

from rtxbench.engines.contract import DeviceControls, Engine
from rtxbench.errors import UnavailableError

__all__ = ["device_controls"]


def device_controls(engine: Engine, kind: str) -> DeviceControls:
    """Gather the controls of an engine loaded in this process.

    Raises:
        UnavailableError: the engine has no device of this kind, or no controls.
    """
    if engine.name not in _CONTROLS:
        raise UnavailableError(
            f"ceilings cannot be measured on engine {engine.name!r}.", next_step=f"Choose from: {', '.join(_CONTROLS)}."
        )
    return _CONTROLS[engine.name](engine, kind)


def _tensorflow(engine: Engine, kind: str) -> DeviceControls:
    import tensorflow as tf

    devices = tf.config.list_logical_devices(kind.upper())
    if not devices:
        raise _no_device("TensorFlow", kind)

    def synchronize(tensor: Any) -> None:
        tensor[(0,) * len(tensor.shape)].numpy()

    return DeviceControls(
        kind=kind,
        scope=lambda: tf.device(devices[0].name),
        synchronize=synchronize,
        set_tf32=engine.set_tf32,
        trace=lambda function: tf.function(function, jit_compile=False),
        fuses=False,
        all_reduce=_tensorflow_all_reduce(tf, [device.name for device in devices]) if len(devices) > 1 else None,
    )


def _tensorflow_all_reduce(tf: Any, devices: list[str]) -> Callable[[int], None]:
    """Sum a tensor over the devices as MirroredStrategy sums gradients (NCCL on GPUs)."""
    on_gpu = "GPU" in devices[0]
    operations = None if on_gpu else tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(devices, cross_device_ops=operations)

    @functools.cache
    def reduction(elements: int) -> Any:
        """Build a function that sums this many float32 elements over all devices of the strategy."""
        with strategy.scope():
            held = tf.Variable(tf.ones((elements,)), trainable=False)

        def replica() -> Any:
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, held.read_value())

        return tf.function(lambda: strategy.run(replica))

    def all_reduce(size_bytes: int) -> None:
        summed = reduction(size_bytes // 4)()
        for tensor in strategy.experimental_local_results(summed):
            tensor[0].numpy()

    return all_reduce


def _jax(engine: Engine, kind: str) -> DeviceControls:
    import jax

    try:
        device = jax.devices(kind)[0]
    except RuntimeError as error:
        raise _no_device("JAX", kind) from error

    return DeviceControls(
        kind=kind,
        scope=lambda: jax.default_device(device),
        synchronize=lambda tensor: tensor.block_until_ready(),
        set_tf32=engine.set_tf32,
        trace=jax.jit,
        fuses=True,
        all_reduce=_jax_all_reduce(jax, jax.devices(kind)) if len(jax.devices(kind)) > 1 else None,
    )


def _jax_all_reduce(jax: Any, devices: list[Any]) -> Callable[[int], None]:
    """Sum an array over the devices, each of which holds its own, as data-parallel training does."""
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    mesh = Mesh(devices, ("device",))
    split, everywhere = NamedSharding(mesh, PartitionSpec("device")), NamedSharding(mesh, PartitionSpec())
    total = jax.jit(lambda array: array.sum(axis=0), out_shardings=everywhere)

    @functools.cache
    def held(elements: int) -> Any:
        return jax.device_put(jax.numpy.ones((len(devices), elements), "float32"), split)

    return lambda size_bytes: total(held(size_bytes // 4)).block_until_ready()


def _torch(engine: Engine, kind: str) -> DeviceControls:
    import torch

    if kind == "gpu" and not torch.cuda.is_available():
        raise _no_device("PyTorch", kind)

    def synchronize(_tensor: Any) -> None:
        if kind == "gpu":
            torch.cuda.synchronize()

    def scope() -> Any:
        """Make Keras place what is created inside on the worker's device."""
        import keras

        # To Keras `cpu:0` is another device than `cpu`: it would copy every tensor before it is used.
        return keras.device("cpu") if kind == "cpu" else contextlib.nullcontext()

    return DeviceControls(
        # PyTorch runs every operation as a kernel of its own, so its eager chain is its graph.
        kind=kind,
        scope=scope,
        synchronize=synchronize,
        set_tf32=engine.set_tf32,
        trace=lambda function: function,
        fuses=False,
    )


def _no_device(engine: str, kind: str) -> UnavailableError:
    return UnavailableError(f"{engine} sees no {kind} in this process.", next_step="Run `rtxbench doctor`.")


_CONTROLS: Final[dict[str, Callable[[Engine, str], DeviceControls]]] = {
    "tensorflow": _tensorflow,
    "jax": _jax,
    "torch": _torch,
}
