"""The plan of ``rtxbench run --model train.py:build``: the suite's pairs, of a model of the user's own.

The file is read here, never run: that happens in worker processes (`rtxbench.workloads.own`).
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from rtxbench.engines.refusals import COMPILERS, default_compiler
from rtxbench.errors import UsageError
from rtxbench.lookup import suggestion
from rtxbench.measure.groups import Group, split_runnable
from rtxbench.placement import batch_sharing_placement
from rtxbench.precision import PRECISIONS, reduced_precision_of
from rtxbench.records import Case, Environment
from rtxbench.workloads.own import own_name

__all__ = ["CLAIM", "Target", "plain_case", "plan_own_model", "target_name", "target_of"]

CLAIM: Final = "your-model"
"""First part of the groups' names, where the suite's groups have a claim's."""
_USUAL_BATCH: Final = 32
_ENGINE_OF_IMPORT: Final[Mapping[str, str]] = {
    "torch": "torch",
    "torchvision": "torch",
    "transformers": "torch",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "flax": "jax",
    "optax": "jax",
}
"""Top-level package a file imports → the engine it is written for. Keras alone runs on any; it gets TensorFlow."""


class Target(NamedTuple):
    """A function of a file, and the settings it is to be trained with."""

    path: Path
    function: str
    engine: str
    batch_size: int
    keras: bool = False
    """True for a file that imports Keras: its models have none of the engine's switches."""

    @property
    def source(self) -> str:
        """Text by which a worker is told of it: ``/home/me/train.py:build``."""
        return f"{self.path}:{self.function}"


def target_of(text: str, engine: str | None, batch_size: int | None) -> Target:
    """Find the function that ``path/to/file.py:function`` names, without running the file.

    Args:
        text: as the user wrote it.
        engine: that was asked for; ``None`` for the framework the file imports.
        batch_size: that was asked for; ``None`` for the default of the function's first argument, else 32.

    Raises:
        UsageError: no such file or function, the file is no Python, or its framework is not clear.
    """
    name, colon, function = text.rpartition(":")
    if not colon or not function.isidentifier():
        raise UsageError(f"{text!r} is not file.py:function.", next_step="For example: --model train.py:build.")
    path = Path(name).resolve()
    if not path.is_file():
        raise UsageError(f"there is no file {name}.", next_step="Give the path of the file that holds your function.")
    tree = _parsed(path)
    known = {name: node for node in tree.body for name in _names(node)}
    if function not in known:
        hint = suggestion(known, function) if known else f"Define {function}(batch_size) in it."
        raise UsageError(f"{path.name} has no function {function!r}.", next_step=hint)
    batch_size = batch_size or _default_batch(known[function])
    return Target(path, function, engine or _engine_of(tree, path), batch_size, "keras" in _imported(tree))


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{path.name} is no Python file: {error}.", next_step="Run `python` on it first.") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", next_step="Check its permissions.") from error


def _names(node: ast.stmt) -> Iterator[str]:
    """List what a top-level statement defines: a function, a name, an import."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.ImportFrom(names=names):
            yield from (alias.asname or alias.name for alias in names)


def _default_batch(node: ast.stmt) -> int:
    """Return the default of the function's first argument."""
    if isinstance(node, ast.FunctionDef) and len(node.args.defaults) == len(node.args.args) > 0:
        default = node.args.defaults[0]
        if isinstance(default, ast.Constant) and isinstance(default.value, int) and default.value > 0:
            return default.value
    return _USUAL_BATCH


def _engine_of(tree: ast.Module, path: Path) -> str:
    imported = _imported(tree)
    engines = sorted({engine for name, engine in _ENGINE_OF_IMPORT.items() if name in imported})
    if len(engines) == 1:
        return engines[0]
    if not engines and "keras" in imported:
        return "tensorflow"
    found = f"imports the frameworks of {' and '.join(engines)}" if engines else "imports no framework rtxbench knows"
    raise UsageError(f"{path.name} {found}.", next_step=f"Say which: --engine {', '.join(COMPILERS)}.")


def _imported(tree: ast.Module) -> set[str]:
    """Collect the top-level packages a file imports, wherever it does."""
    return {name.partition(".")[0] for node in ast.walk(tree) for name in _modules(node)}


def _modules(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), level=0):
            yield module


def plain_case(target: Target, environment: Environment) -> Case:
    """Make the case that everything else of the model is held against: float32, one device, the engine's usual way."""
    return Case(
        workload=own_name(target.path, target.function),
        batch_size=target.batch_size,
        placement="gpu" if environment.gpus else "cpu",
        engine=target.engine,
        compiler=default_compiler(target.engine),
    )


def plan_own_model(
    target: Target, environment: Environment, compilers: Sequence[str] = (), logical_devices: int = 0
) -> list[Group]:
    """List the groups: every precision against float32, the engine's other compilers, all devices against one.

    Args:
        target: the model.
        environment: of this machine.
        compilers: that were asked for; none for all that the engine has.
        logical_devices: above 1, also train on so many logical devices of the CPU, as a functional check.

    Raises:
        UsageError: the engine has no such compiler.
    """
    plain = plain_case(target, environment)
    name = target_name(plain)
    groups = [_group("precision", name, plain, [replace(plain, precision=p) for p in PRECISIONS], environment)]
    for compiler in _compilers_beside(plain, compilers):
        precisions = ("float32", reduced_precision_of(plain.placement).name)
        compiled = [replace(plain, precision=precision, compiler=compiler) for precision in precisions]
        groups.append(_group(f"compiler-{compiler}", name, plain, compiled, environment))
    count = len(environment.gpus)
    if count > 1:
        many = replace(plain, placement=batch_sharing_placement(target.engine), device_count=count)
        shared = replace(many, batch_size=plain.batch_size // count * count or count)
        larger = replace(many, batch_size=plain.batch_size * count)
        groups.append(_group("devices", name, plain, [shared, larger], environment))
    if logical_devices > 1:
        groups.append(_logical_check(name, plain, logical_devices))
    return groups


def target_name(case: Case) -> str:
    """File, function and version of a case's model: ``train.build``."""
    return case.workload.partition("@")[0].partition(":")[2]


def _compilers_beside(plain: Case, wanted: Sequence[str]) -> list[str]:
    """List the compilers to hold against that of the plain case."""
    there = COMPILERS[plain.engine]
    for compiler in wanted:
        if compiler not in there:
            raise UsageError(
                f"{plain.engine} has no compiler {compiler!r}.", next_step=f"Choose one of: {', '.join(there)}."
            )
    unasked = there if plain.compiler == "none" else ()  # uncompiled JAX is nobody's training
    return [compiler for compiler in wanted or unasked if compiler != plain.compiler]


def _logical_check(name: str, plain: Case, count: int) -> Group:
    """Check data parallelism on logical devices of one CPU: proof that the code runs, never evidence of speed."""
    one = replace(plain, placement="cpu")
    placement = batch_sharing_placement(plain.engine, functional_check=True)
    many = replace(one, placement=placement, device_count=count, batch_size=plain.batch_size // count * count or count)
    return Group(f"{CLAIM}-check/{name}", CLAIM, plain.workload, one, (many,))


def _group(what: str, name: str, baseline: Case, cases: list[Case], environment: Environment) -> Group:
    kind = "gpu" if environment.gpus else "cpu"
    able, skipped = split_runnable([case for case in cases if case != baseline], environment, kind)
    return Group(f"{CLAIM}/{name}-{what}", CLAIM, baseline.workload, baseline, tuple(able), tuple(skipped))
