"""List the kernels of a user's own JAX step: ``python -m rtxbench.engines.jax.own_program MODEL WIDTH BATCH CARD``.

Where the extra ``compile-cuda`` is installed (no driver, no card needed), the step is compiled for the card
and its kernels are read from the program. Elsewhere the engine's own cost analysis gives FLOPs and bytes of the whole,
and the first line of the output says so.
"""

import os
import sys
from importlib.util import find_spec
from typing import Any

import msgspec

from rtxbench.catalog.cards import find_card, load_cards
from rtxbench.catalog.programs import Kernel
from rtxbench.engines.jax.hlo import kernels_of
from rtxbench.engines.jax.own import own_parts
from rtxbench.engines.jax.target import target_config
from rtxbench.errors import RtxbenchError
from rtxbench.workloads.own import SOURCE_VARIABLE, call_build, recorded_case

__all__ = ["own_kernels"]


def own_kernels(source: str, width: str, batch_size: int, card: str) -> tuple[str, list[Kernel]]:
    """Give where the kernels come from, in words, and the kernels of one step."""
    import jax

    case = recorded_case(source, "jax", width, batch_size)
    own = call_build(case, 0, {SOURCE_VARIABLE: source})
    with jax.default_device(jax.devices("cpu")[0]):
        parts = own_parts(jax, case, own)
    is_there = find_spec("jax_cuda12_plugin") is not None
    sharding = _sharding(card) if is_there else None

    def shaped(leaf: Any) -> Any:
        array = jax.numpy.asarray(leaf)
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)

    arguments = jax.tree.map(shaped, (parts.state, own.batch))
    lowered = jax.jit(parts.step, donate_argnums=0).lower(*arguments)
    if is_there:
        return f"compiled by XLA for {card}", kernels_of(lowered.compile().as_text())
    totals = lowered.cost_analysis() or {}
    whole = Kernel("whole step", "gemm", width == "half", totals.get("flops", 0.0), totals.get("bytes accessed", 0.0))
    return "totals of JAX's cost analysis, its CUDA compiler is not installed", [whole]


def _sharding(card: str) -> Any:
    from jax._src import xla_bridge
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    xla_bridge._discover_and_register_pjrt_plugins()
    config = target_config(find_card(card, load_cards()))
    topology = topologies.get_topology_desc("", platform="cuda", target_config=config, topology="1x1x1")
    return SingleDeviceSharding(topology.devices[0])


def main(source: str, width: str, batch: str, card: str) -> int:
    """Print where the kernels come from and their list, or why there is none."""
    os.environ[SOURCE_VARIABLE] = source
    # Without a card nothing can be timed, so the autotuner must not try.
    os.environ.update(JAX_SKIP_CUDA_CONSTRAINTS_CHECK="1", XLA_FLAGS="--xla_gpu_autotune_level=0")
    try:
        words, kernels = own_kernels(source, width, int(batch), card)
    except RtxbenchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(msgspec.json.encode(words).decode() + "\n" + msgspec.json.encode(kernels).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
