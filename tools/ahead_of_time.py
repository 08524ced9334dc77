"""Compile rtxbench's own JAX training step for an NVIDIA card that is not there.

XLA needs a description of the card, not the card: ``python -m tools.ahead_of_time CASE.json "RTX 4070"`` prints what
the compiler made of one step as JSON: its memory plan, the instructions of its PTX, the names of its kernels. The
description is made from the card's row in ``rtxbench/catalog/cards.csv`` and what its architecture fixes. Needs the
packages of ``tox -e gpu-sim`` (JAX's CUDA compiler, no driver); every case is a process of its own, since XLA reads
its flags once.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec

from rtxbench.catalog.cards import Card, find_card, load_cards
from rtxbench.engines.jax.target import target_config
from rtxbench.records import Case

__all__ = ["CompiledStep", "compile_step", "why_not_here"]


class CompiledStep(msgspec.Struct, frozen=True):
    """What the compiler made of one training step."""

    case: Case
    card: str
    temp_bytes: int
    """Beside the state: activations and workspace of one step."""
    argument_bytes: int
    """Weights, optimizer slots and the batch."""
    output_bytes: int
    alias_bytes: int
    flops: float | None
    """XLA's count on the program lowered for the host; ``None`` where it gives none."""
    instructions: dict[str, int]
    """Tensor Core instruction → occurrences in the PTX."""
    float_products: int
    """Occurrences of ``fma.rn.f32``."""
    kernels: tuple[str, ...]
    """Names of the PTX's entry points."""
    tensor_core_kernels: tuple[str, ...]
    """Those that hold a Tensor Core instruction."""
    library_calls: dict[str, int]
    """Custom-call target (cuBLAS, cuDNN) → calls."""

    @property
    def peak_bytes(self) -> int:
        """What the device holds while the step runs."""
        return self.temp_bytes + self.argument_bytes + self.output_bytes - self.alias_bytes


def why_not_here() -> str | None:
    """Why nothing can be compiled in this environment, or ``None``."""
    missing = [name for name in ("jax", "keras", "jax_cuda12_plugin") if find_spec(name) is None]
    return f"{', '.join(missing)} not installed; run `tox -e gpu-sim`" if missing else None


def compile_step(case: Case, card: str, limit_s: float = 900.0) -> CompiledStep:
    """Compile one case for one card in a process of its own.

    Raises:
        RuntimeError: the compiler failed; the message holds its last words.
    """
    with tempfile.TemporaryDirectory(prefix="rtxbench-aot-") as folder:
        command = [sys.executable, "-m", "tools.ahead_of_time", msgspec.json.encode(case).decode(), card, folder]
        environment = {
            **os.environ,
            "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
            "KERAS_BACKEND": "jax",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            # Without a card nothing can be timed, so the autotuner must not try.
            "XLA_FLAGS": f"--xla_gpu_autotune_level=0 --xla_dump_to={folder}",
        }
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=limit_s)
        if done.returncode != 0:
            raise RuntimeError(f"{case.label} on {card}: {done.stderr.strip().splitlines()[-1:]}")
        return msgspec.json.decode(done.stdout.splitlines()[-1], type=CompiledStep)


def _compile_here(case: Case, card: Card, dump: Path) -> CompiledStep:
    import jax

    lowered, flops = _lowered(jax, case, card)
    compiled = lowered.compile()
    plan = compiled.memory_analysis()
    ptx = [path.read_text() for path in dump.glob("*.ptx")]
    text = "\n".join(ptx)
    entries = _entries(text)
    return CompiledStep(
        case=case,
        card=card.name,
        temp_bytes=plan.temp_size_in_bytes,
        argument_bytes=plan.argument_size_in_bytes,
        output_bytes=plan.output_size_in_bytes,
        alias_bytes=plan.alias_size_in_bytes,
        flops=flops,
        instructions=_counts(_MATRIX.findall(text)),
        float_products=text.count("fma.rn.f32"),
        kernels=tuple(sorted(entries)),
        tensor_core_kernels=tuple(sorted(name for name, body in entries.items() if _MATRIX.search(body))),
        library_calls=_counts(re.findall(r'custom_call_target="([^"]+)"', compiled.as_text())),
    )


_MATRIX: Final = re.compile(r"(?:mma\.sync|wgmma\.mma_async|tcgen05\.mma)[.\w]*")


def _entries(ptx: str) -> dict[str, str]:
    """Entry point → its body."""
    parts = re.split(r"\.entry\s+([\w$]+)", ptx)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _counts(found: Sequence[str]) -> dict[str, int]:
    return {name: found.count(name) for name in sorted(set(found))}


def _lowered(jax: Any, case: Case, card: Card) -> tuple[Any, float | None]:
    """The engine's own training step for the card, with shapes in place of arrays; and its FLOPs."""
    import keras
    import numpy as np
    from jax._src import xla_bridge
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    from rtxbench.engines.jax import engine
    from rtxbench.engines.jax.counts import step_flops
    from rtxbench.engines.keras_model import build_parts
    from rtxbench.precision import precision_named
    from rtxbench.workloads import workload_named

    xla_bridge._discover_and_register_pjrt_plugins()
    topology = topologies.get_topology_desc("", platform="cuda", target_config=target_config(card), topology="1x1x1")
    sharding = SingleDeviceSharding(topology.devices[0])
    workload = workload_named(case.workload)
    with jax.default_device(jax.devices("cpu")[0]), keras.device("cpu:0"):
        parts = build_parts(workload, case, 0)
    inputs, labels = workload.batch(1, np.random.default_rng(0))

    def shaped(array: Any, batch: bool) -> Any:
        shape = (case.batch_size, *array.shape[1:]) if batch else array.shape
        return jax.ShapeDtypeStruct(shape, array.dtype, sharding=sharding)

    state = jax.tree.map(lambda leaf: shaped(leaf, False), engine._state_of(parts))
    batch = jax.tree.map(lambda leaf: shaped(leaf, True), (inputs, labels))
    with jax.default_matmul_precision(engine._matmul_precision(precision_named(case.precision).tf32)):
        step = engine._training_step(jax, parts)
        lowered = jax.jit(step, donate_argnums=0).lower(state, *batch)
        return lowered, step_flops(jax, lowered, step, (state, *batch)).value


def main(encoded: str, card: str, dump: str) -> None:
    """Print one `CompiledStep` as JSON, the last line of the output."""
    case = msgspec.json.decode(encoded, type=Case)
    compiled = _compile_here(case, find_card(card, load_cards()), Path(dump))
    sys.stdout.write("\n" + json.dumps(msgspec.to_builtins(compiled)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:4])
