"""The kernels of a user's own model, for `rtxbench advise --model file.py:function`.

A process of its own lists them without a card: PyTorch's operations as they are launched, or what XLA makes of a JAX
step. Which card is faster at them is then the kernel law's (`prediction.kernel_law`).
"""

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import msgspec

import rtxbench
from rtxbench.advice.prediction.points import Experiment, Points, points_of
from rtxbench.catalog.cards import Card
from rtxbench.catalog.programs import Kernel, Program, program_of, width_that_ran
from rtxbench.errors import UsageError
from rtxbench.workers.interpreters import interpreter_of
from rtxbench.workloads.own import own_name

__all__ = ["REFERENCE", "RELATIVE_STACK", "OwnProgram", "own_program", "relative_anchor"]

REFERENCE = "GeForce RTX 3090"
"""The card whose speed is 1 where nothing of the model was measured: the one with the most published figures."""
RELATIVE_STACK = "own program, relative speed"
_LIMIT_S = 900.0


class OwnProgram(NamedTuple):
    """A model of one's own, as the kernel law reads it."""

    name: str
    """The workload that ``rtxbench run --model`` stores its records under."""
    width: str
    batch_size: int
    program: Program
    basis: str
    """Source of the kernels, in words."""


def own_program(target: str, precision: str, batch_size: int | None) -> OwnProgram:
    """List the kernels of ``file.py:function``.

    Raises:
        UsageError: no such file, no framework known, or the step cannot be listed.
    """
    path_text, colon, function = target.rpartition(":")
    path = Path(path_text).resolve()
    if not colon or not function.isidentifier() or not path.is_file():
        raise UsageError(f"{target!r} is no file.py:function.", next_step="For example: --model train.py:build.")
    batch, source = batch_size or _USUAL_BATCH, f"{path}:{function}"
    width = width_that_ran("", precision)
    name = own_name(path, function)
    text = path.read_text(encoding="utf-8", errors="replace")
    if "torch" in text or "transformers" in text:
        small, large = (
            msgspec.json.decode(line, type=list[Kernel])
            for line in _listed("torch", source, width, str(batch), str(2 * batch))
        )
        program = program_of(small, large, (batch, 2 * batch))
        return OwnProgram(name, width, batch, program, f"{len(small)} operations recorded of PyTorch's step")
    words, line = _listed("jax", source, width, str(batch), REFERENCE)
    kernels = msgspec.json.decode(line, type=list[Kernel])
    # Compiled at one batch: the program is that of this batch alone.
    fixed = program_of(kernels, kernels, (batch, 2 * batch))
    count = "" if len(kernels) == 1 else f"{len(kernels)} kernels "
    return OwnProgram(name, width, batch, fixed, f"{count}{msgspec.json.decode(words)}")


_USUAL_BATCH = 32


def _listed(engine: str, *arguments: str) -> list[str]:
    command = [interpreter_of(engine), "-P", "-m", f"rtxbench.engines.{engine}.own_program", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S, env=_environment())
    lines = done.stdout.splitlines()
    if done.returncode != 0 or len(lines) != 2:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UsageError(
            f"the step of {Path(arguments[0]).name} cannot be listed: {last}",
            next_step="Let `rtxbench run --model` run it first; what reads a tensor's value cannot be recorded.",
        )
    return lines


def _environment() -> dict[str, str]:
    here = str(Path(rtxbench.__file__).resolve().parent.parent)
    searched = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(searched)}


def relative_anchor(own: OwnProgram, precision: str, card: Card) -> tuple[Experiment, Points]:
    """Give the reference card's speed as 1, where nothing of the model was measured."""
    case = Experiment(RELATIVE_STACK, own.name, precision)
    return case, points_of([(card, case, own.batch_size, 1.0)])
