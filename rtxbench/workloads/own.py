"""A user's own model: ``train.py:build``, a function that gets ``batch_size`` and returns what one step needs.

::

    def build(batch_size):
        return model, batch, loss              # or model, batch, loss, optimizer

====================  =================================  =====================================================
model                 batch                              loss
====================  =================================  =====================================================
``keras.Model``       (inputs, labels), NumPy arrays     a Keras loss, its name, or f(labels, outputs)
``torch.nn.Module``   (inputs, labels), tensors          f(outputs, labels)
``torch.nn.Module``   a dict: ``model(**batch)``         ``None``: the model's output has a ``loss``
JAX parameters        any tree of arrays                 f(parameters, batch)
====================  =================================  =====================================================

The function runs in worker processes only. A case names it by file, function and the first eight digits of its source's
SHA-256 (`rtxbench.workloads.own_source`), so that two versions of a program are never taken for one; where the file
lies stands in `SOURCE_VARIABLE`, which every worker inherits, and in no record.
"""

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from rtxbench.errors import MeasurementError, RtxbenchError, UsageError
from rtxbench.records import Case
from rtxbench.workloads.own_source import source_digest
from rtxbench.workloads.process_state import changed_state, process_state
from rtxbench.workloads.workload import Batch, Workload

__all__ = [
    "SOURCE_VARIABLE",
    "OwnModel",
    "call_build",
    "is_own",
    "own_name",
    "own_target",
    "own_workload",
    "recorded_case",
]

SOURCE_VARIABLE: Final = "RTXBENCH_MODEL"
"""Environment variable that tells a worker which file and function to load: ``/home/me/train.py:build``."""
_PREFIX: Final = "model:"
_FORMS: Final = (3, 4)
_CONTRACT: Final = "Return (model, batch, loss) or (model, batch, loss, optimizer); see examples/README.md."


class OwnModel(NamedTuple):
    """The parts of a training step that a user's function returned."""

    model: Any
    batch: Any
    loss: Any
    optimizer: Any = None

    @property
    def is_keras(self) -> bool:
        """Return whether the model is a Keras model, which on the torch backend is a ``torch.nn.Module`` too."""
        keras = sys.modules.get("keras")
        return keras is not None and isinstance(self.model, keras.Model)


def is_own(workload: str) -> bool:
    """Tell whether a case's workload is a user's own model."""
    return workload.startswith(_PREFIX)


def own_name(path: Path, function: str) -> str:
    """Name the workload of a function: ``model:train.build@1a2b3c4d``."""
    return f"{_PREFIX}{path.stem}.{function}@{source_digest(path)[:8]}"


def own_target(workload: str) -> str:
    """Write the workload of a function as a command names it: ``train.py:build``; its folder stands in no record."""
    file, _, function = workload.removeprefix(_PREFIX).partition("@")[0].rpartition(".")
    return f"{file}.py:{function}"


def recorded_case(source: str, engine: str, width: str, batch_size: int) -> Case:
    """Make the case whose step is recorded, not timed, at a width: ``full`` or ``half``.

    bfloat16 has float16's width and needs no scaled loss, whose check reads a value that a recorded tensor lacks.
    """
    path, _, function = source.rpartition(":")
    return Case(
        workload=own_name(Path(path), function),
        batch_size=batch_size,
        precision="mixed_bfloat16" if width == "half" else "float32",
        placement="cpu",
        engine=engine,
    )


def call_build(case: Case, seed: int, environ: Mapping[str, str] = os.environ) -> OwnModel:
    """Load the user's file and call its function with the case's batch size.

    Random numbers of Python, NumPy and PyTorch start from ``seed``, so that equal seeds give equal weights and data.

    Raises:
        UsageError: no file is named, or it has changed since the run began.
        MeasurementError: the function is missing, fails, returns something else, or changes the process.
    """
    target = environ.get(SOURCE_VARIABLE, "")
    path, _, function = target.rpartition(":")
    if not path:
        raise UsageError(f"nobody says where {case.workload} lies.", next_step="Run it by `rtxbench run --model`.")
    if own_name(Path(path), function) != case.workload:
        raise UsageError(
            f"{Path(path).name}, or a file that it imports, has changed since this run began.",
            next_step="Leave them alone while they are run.",
        )
    before = process_state()
    _seed_everything(seed)
    returned = _called(Path(path), function, case.batch_size)
    changed = changed_state(before, process_state())
    if changed:
        raise MeasurementError(
            f"{Path(path).name}:{function} changes the process it runs in: {'; '.join(changed)}.",
            next_step="rtxbench sets these itself, and other cases share the process: leave them out of the function.",
        )
    return _checked(returned, f"{Path(path).name}:{function}", case.batch_size)


def _seed_everything(seed: int) -> None:
    import random

    random.seed(seed)
    np.random.seed(seed)  # what a user's function draws from
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(seed)


def _called(path: Path, function: str, batch_size: int) -> Any:
    """Whatever the user's function returns; whatever it raises becomes one sentence."""
    try:
        build = getattr(_module(path), function, None)
        if build is None:
            raise MeasurementError(
                f"{path.name} has no function {function!r}.", next_step="Name one that it has: file.py:function."
            )
        return build(batch_size)
    except RtxbenchError:
        raise
    except ModuleNotFoundError as error:
        raise MeasurementError(
            f"{path.name} needs the package {error.name!r}, which {sys.executable} does not have.",
            next_step="Install it there, or name another interpreter in RTXBENCH_PYTHON_<ENGINE>.",
        ) from error
    except SystemExit as error:
        raise MeasurementError(
            f"{path.name} ended the program when it was imported or called.",
            next_step="Put what trains and reads arguments under `if __name__ == '__main__':`.",
        ) from error
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0][:300]
        raise MeasurementError(
            f"{path.name}:{function} raised {type(error).__name__}: {first}{_line_in(path, error)}.",
            next_step=f"Call {function}({batch_size}) by hand in the same environment until it returns.",
        ) from error


def _module(path: Path) -> Any:
    """Import the user's file once a process, with its folder on the search path for what it imports beside it."""
    loaded = sys.modules.get(path.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def _line_in(path: Path, error: BaseException) -> str:
    """Say on which line of the user's own file it happened."""
    trace = error.__traceback__
    line = None
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == str(path) else line
        trace = trace.tb_next
    return "" if line is None else f" (line {line})"


def _checked(returned: Any, name: str, batch_size: int) -> OwnModel:
    if not isinstance(returned, tuple) or len(returned) not in _FORMS:
        what = f"{len(returned)} values" if isinstance(returned, tuple) else type(returned).__name__
        raise MeasurementError(f"{name} returned {what}.", next_step=_CONTRACT)
    own = OwnModel(*returned)
    if own.loss is None and not isinstance(own.batch, dict):
        raise MeasurementError(
            f"{name} returned no loss.",
            next_step="Only a batch that is a dict may go without: the model's output must then have a `loss`.",
        )
    lengths = sorted({len(leaf) for leaf in _leaves(own.batch) if getattr(leaf, "shape", ())})
    if lengths and batch_size not in lengths:
        raise MeasurementError(
            f"{name} was asked for a batch of {batch_size} and returned arrays of {' and '.join(map(str, lengths))}.",
            next_step="Make the first axis of inputs and labels as long as the batch_size it is given.",
        )
    return own


def _leaves(batch: Any) -> list[Any]:
    """List what a batch of dicts, tuples and lists holds."""
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    if not isinstance(batch, tuple | list):
        return [batch]
    return [leaf for part in batch for leaf in _leaves(part)]


def own_workload(case: Case, seed: int = 0, sample: OwnModel | None = None) -> Workload:
    """Return the user's Keras model in the form every Keras engine takes.

    Args:
        case: what to train.
        seed: of weights and batch.
        sample: an earlier call's result, whose batch is taken.

    Raises:
        MeasurementError: when built, see `call_build`; the model is not a Keras model.
    """
    keras_model = _KerasModel(case, seed, sample)
    return Workload(
        name=case.workload,
        family="own",
        build=keras_model.build,
        batch=keras_model.batch,
        batch_sizes={},
        loss=keras_model.loss,
        optimizer=keras_model.optimizer,
    )


class _KerasModel:
    """Calls the user's function once for the batch, and once under the case's dtype policy for the model."""

    def __init__(self, case: Case, seed: int, sample: OwnModel | None) -> None:
        self._case = case
        self._seed = seed
        self._batch = None if sample is None else sample.batch
        self._built: OwnModel | None = None

    def build(self) -> Any:
        """Build the user's model under the dtype policy in force; one without shapes is called once."""
        own = self._called()
        inputs, _ = _as_arrays(own.batch)
        if not own.model.built:
            own.model(inputs[:1] if isinstance(inputs, np.ndarray) else {k: v[:1] for k, v in inputs.items()})
        self._built = own
        return own.model

    def batch(self, batch_size: int, rng: np.random.Generator) -> Batch:
        """Give the user's batch; its size and seed are the case's."""
        return _as_arrays(self._called().batch if self._batch is None else self._batch)

    def loss(self) -> Any:
        """Give the user's loss; where Keras knows it, per example, as data parallelism needs it."""
        import keras

        assert self._built is not None
        loss = self._built.loss
        if isinstance(loss, str):
            return keras.losses.get(loss)
        if isinstance(loss, keras.losses.Loss):
            loss.reduction = None
        return loss

    def optimizer(self) -> Any:
        """Give the user's optimizer, if there is one."""
        assert self._built is not None
        return self._built.optimizer

    def _called(self) -> OwnModel:
        own = call_build(self._case, self._seed)
        if not own.is_keras:
            raise MeasurementError(
                f"engine {self._case.engine} takes a Keras model; the function returned {type(own.model).__name__}.",
                next_step="Choose the engine of your framework: --engine torch or --engine jax.",
            )
        return own


def _as_arrays(batch: Any) -> Batch:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise MeasurementError(
            "the batch of a Keras model must be (inputs, labels).", next_step="Return the two as NumPy arrays."
        )
    inputs, labels = batch
    held = {key: np.asarray(value) for key, value in inputs.items()} if isinstance(inputs, dict) else np.asarray(inputs)
    return held, np.asarray(labels)
