"""List what a user's own PyTorch step launches: ``python -m rtxbench.engines.torch.own_program MODEL WIDTH BATCH…``.

Prints one JSON list of kernels for each batch size. Nothing is computed: the step is that of a measurement
(`rtxbench.engines.torch.native`), on tensors without data.
"""

import os
import sys

import msgspec

from rtxbench.catalog.programs import Kernel
from rtxbench.engines.torch.native import NativeStep
from rtxbench.errors import RtxbenchError
from rtxbench.workloads.own import SOURCE_VARIABLE, call_build, recorded_case

__all__ = ["own_kernels"]


def own_kernels(source: str, width: str, batch_size: int) -> list[Kernel]:
    """Record one step of ``file.py:function`` at that width (``full`` or ``half``) and batch size."""
    import torch

    from rtxbench.engines.torch.operations import fake_tensors, recorded_step  # derives from PyTorch's own classes

    case = recorded_case(source, "torch", width, batch_size)
    with fake_tensors():
        own = call_build(case, 0, {SOURCE_VARIABLE: source})
        own.model.to = lambda *_: own.model  # a tensor without data lies nowhere, and cannot be moved
        step = NativeStep(torch, case, own, slice(None), 0)
        step.run(1)  # the optimizer makes its slots
        return recorded_step(lambda: step.run(1))


def main(source: str, width: str, *batches: str) -> int:
    """Print the lists, or why there are none."""
    os.environ[SOURCE_VARIABLE] = source
    try:
        for batch in batches:
            sys.stdout.write(msgspec.json.encode(own_kernels(source, width, int(batch))).decode() + "\n")
    except RtxbenchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
