"""Send mutants through everything that reads results; anything but an answer or a deliberate error is a fault."""

import hashlib
import pickle
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, Final

import msgspec

from rtxbench.errors import RecordError, UsageError
from rtxbench.results.store import load_readable, load_run
from rtxbench.robustness.mutants import mutant, sample_lines

__all__ = ["READERS", "Fault", "Hostility", "send_mutants", "write_page"]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One mutant that a reader stumbled over."""

    mutant: int
    """Its number: `rtxbench.robustness.mutants.mutant` gives the same bytes again."""
    reader: str
    where: str
    """Exception and innermost line."""


class Hostility(msgspec.Struct, frozen=True, kw_only=True):
    """The fate of the mutants; ``rtxbench selftest hostile --json`` prints it."""

    mutants: int
    answered: dict[str, int]
    """Reader → mutants it gave an answer for."""
    refused: dict[str, int]
    """Reader → mutants it refused with a deliberate error."""
    faults: tuple[Fault, ...]


def _claims(folder: Path) -> None:
    from rtxbench.verdicts.claims import load_claims
    from rtxbench.verdicts.judge import judge
    from rtxbench.verdicts.listing import claims_text

    runs, _ = load_readable([folder])
    claims = load_claims()
    claims_text(claims, judge(runs, claims))


def write_page(folder: Path, out: Path) -> Path:
    """Write the whole report of a folder of results and return its page; a figure drawn before is not drawn again."""
    from rtxbench.report.render.output import build_context, load_runs, write_report
    from rtxbench.verdicts.claims import load_claims

    context = build_context(load_runs([folder]).runs, load_claims())
    return write_report(context, out, processes=_DRAWN_ONCE).files[0]


def _report(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as out:
        write_page(folder, Path(out))


class _DrawnOnce(Executor):
    """Draws at once and remembers: of a thousand mutants of one file, most figures are those of another."""

    def __init__(self) -> None:
        self._drawn: dict[bytes, Any] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Call the function, unless it was called with the same before."""
        future: Future[Any] = Future()
        key = hashlib.sha256(pickle.dumps((fn, args, kwargs))).digest()
        try:
            if key not in self._drawn:
                self._drawn[key] = fn(*args, **kwargs)
            future.set_result(self._drawn[key])
        except Exception as error:
            future.set_exception(error)
        if len(self._drawn) > _MOST_DRAWN:
            self._drawn.clear()
        return future


_DRAWN_ONCE: Final = _DrawnOnce()
_MOST_DRAWN: Final = 500


def _merge(folder: Path) -> None:
    from rtxbench.results.merge import merge_results

    with tempfile.TemporaryDirectory() as out:
        merge_results([folder], Path(out) / "merged")


def _history(folder: Path) -> None:
    from rtxbench.gate.series import history_series

    history_series(load_readable([folder])[0])


def _replay(folder: Path) -> None:
    from rtxbench.gate.selftest import replay_files

    try:
        replay_files([folder], 20)
    except UsageError as error:  # a file without a self-test
        raise RecordError(error.message, next_step=error.next_step) from error


def _advise(folder: Path) -> None:
    from rtxbench.advice.own_machines import owned_machines
    from rtxbench.catalog.cards import load_cards

    owned_machines("mlp", "float32", load_readable([folder])[0], load_cards())


READERS: Final[dict[str, Callable[[Path], object]]] = {
    "load": lambda folder: load_run(next(folder.glob("*.jsonl"))),
    "claims": _claims,
    "merge": _merge,
    "history": _history,
    "replay": _replay,
    "advise": _advise,
    "report": _report,
}


def send_mutants(
    numbers: Iterable[int],
    readers: Iterable[str] = tuple(READERS),
    *,
    most_lines: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Hostility:
    """Write each mutant to a file and let every reader have it.

    Args:
        numbers: which mutants.
        readers: rows of `READERS`.
        most_lines: records per mutant; all of the sample's where ``None``.
        progress: called with the count after each mutant.
    """
    lines, chosen = sample_lines(), tuple(readers)
    answered, refused, faults, count = Counter[str](), Counter[str](), [], 0
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a million files need no disk
    with tempfile.TemporaryDirectory(prefix="rtxbench-hostile-", dir=memory) as name:
        folder = Path(name)
        for count, number in enumerate(numbers, 1):
            (folder / "mutant.jsonl").write_bytes(mutant(lines, number, most_lines))
            for reader in chosen:
                try:
                    READERS[reader](folder)
                    answered[reader] += 1
                except RecordError:
                    refused[reader] += 1
                except Exception as error:
                    faults.append(Fault(mutant=number, reader=reader, where=_where(error)))
            progress(count)
    return Hostility(mutants=count, answered=dict(answered), refused=dict(refused), faults=tuple(faults))


def _where(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {str(error)[:100]} ({Path(last.filename).name}:{last.lineno})"
