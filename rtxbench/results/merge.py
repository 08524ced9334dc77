"""Bring results files from several machines into one folder, each record once, nothing overwritten.

A results file is one run; runs keep the folder of their machine's fingerprint, so figures of two machines can never
share a file. The same run brought twice is taken once; two copies of one run of which one is longer (the other was
copied while it was being written) give the longer; two files that say different things under one id are an error.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rtxbench.errors import MeasurementError, RecordError
from rtxbench.results.store import LoadedRun, find_result_files, load_run, one_file_per_run

__all__ = ["Merged", "merge_results"]


@dataclass(frozen=True)
class Merged:
    """The outcome of a merge."""

    written: tuple[Path, ...]
    """Results files made in the output folder."""
    present: tuple[Path, ...]
    """Sources whose run the output folder already holds in full."""
    duplicates: tuple[Path, ...]
    """Sources that another source made superfluous."""
    traces: tuple[Path, ...]
    """Hardware traces copied beside their runs."""

    @property
    def machines(self) -> tuple[str, ...]:
        """Fingerprints of the machines the written runs come from."""
        return tuple(sorted({path.parent.name for path in self.written}))


def merge_results(sources: Iterable[Path], out: Path) -> Merged:
    """Copy every run under ``sources`` to ``out/<machine>/<run>.jsonl``, with its trace.

    Every file is read and checked before the first is written: a bad one stops the merge with nothing done. A file
    that is already in ``out`` is never changed.

    Args:
        sources: results files or folders.
        out: where the merged results go; may hold earlier ones.

    Raises:
        RecordError: a file is malformed or of a newer schema, or two files contradict each other.
        MeasurementError: the output folder cannot be written.
    """
    inside = out.resolve()
    files = [path for path in find_result_files(sources) if not path.resolve().is_relative_to(inside)]
    if not files:
        raise RecordError(
            "no results files to merge.", next_step="Name files or folders written by rtxbench, outside --out."
        )
    runs, duplicates, contradictions = one_file_per_run([load_run(path) for path in files])
    if contradictions:
        raise contradictions[0]
    kept = {loaded.run.run_id: loaded for loaded in runs}
    present = {run_id for run_id, loaded in kept.items() if _is_present(loaded, _target(loaded, out))}
    written, traces = [], []
    for run_id, loaded in kept.items():
        if run_id not in present:
            written.append(_write(loaded, out))
            traces += _copy_trace(loaded, written[-1])
    return Merged(
        written=tuple(written),
        present=tuple(kept[run_id].path for run_id in sorted(present)),
        duplicates=tuple(duplicates),
        traces=tuple(traces),
    )


def _target(loaded: LoadedRun, out: Path) -> Path:
    return out / loaded.run.environment.machine / f"{loaded.run.run_id}.jsonl"  # both are slugs: `records.Slug`


def _is_present(loaded: LoadedRun, target: Path) -> bool:
    """Return whether ``target`` already holds all of the run.

    Raises:
        RecordError: it holds something else, or less; it is left as it is.
    """
    if not target.exists():
        return False
    there = load_run(target)
    if there.run == loaded.run and there.records[: len(loaded.records)] == loaded.records:
        return True
    raise RecordError(
        f"{target} exists and does not hold what {loaded.path} does.",
        next_step="Move it away or choose another --out; nothing was overwritten.",
    )


def _write(loaded: LoadedRun, out: Path) -> Path:
    """Write the run's complete lines, byte for byte: the header and one line per record."""
    lines = loaded.path.read_bytes().split(b"\n")[: 1 + len(loaded.records)]  # as `load_run` does: JSON may hold \r
    target = _target(loaded, out)
    _place(b"\n".join(lines) + b"\n", target)
    return target


def _copy_trace(loaded: LoadedRun, written: Path) -> list[Path]:
    source, target = (path.with_suffix(".trace.jsonl") for path in (loaded.path, written))
    if not source.is_file() or target.exists():
        return []
    _place(source.read_bytes(), target)
    return [target]


def _place(content: bytes, target: Path) -> None:
    """Place all of it under its name, or nothing: a link fails where the name is taken; a full disk leaves no half."""
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(content)
            os.link(draft, target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise MeasurementError(
            f"cannot write {target}: {error.strerror}.",
            next_step="Free some disk space or choose another --out; merge again, what is there is kept.",
        ) from error
