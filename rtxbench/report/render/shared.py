"""Results of others to compare with: folders, files, or addresses that are fetched for the time of one report."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rtxbench.errors import UsageError

__all__ = ["fetched"]

_MOST_BYTES: Final = 64 * 2**20
_TIMEOUT_S: Final = 30


@contextmanager
def fetched(places: Sequence[str]) -> Iterator[list[Path]]:
    """Local paths of the places; what has an ``https`` address is downloaded and removed again at the end.

    Raises:
        UsageError: a place does not exist, cannot be fetched, or is larger than 64 MiB.
    """
    with tempfile.TemporaryDirectory(prefix="rtxbench-") as folder:
        yield [_local(place, Path(folder), number) for number, place in enumerate(places)]


def _local(place: str, folder: Path, number: int) -> Path:
    if place.startswith("https://"):
        target = folder / f"{number}.jsonl"
        target.write_bytes(_download(place))
        return target
    if not Path(place).exists():
        raise UsageError(f"{place} is neither a file, a folder nor an https address.", next_step="Check the path.")
    return Path(place)


def _download(address: str) -> bytes:
    """Fetch one results file. The strict loader judges what is in it; a stranger's file can only hold records."""
    import ssl
    from http.client import HTTPException
    from urllib.request import urlopen

    try:
        # Only https, checked by the caller; a context of its own, because Python 3.12 remembers the first one.
        with urlopen(address, timeout=_TIMEOUT_S, context=ssl.create_default_context()) as answer:
            final, announced = str(answer.url), int(answer.headers.get("Content-Length", 0))
            data = bytes(answer.read(_MOST_BYTES + 1)) if final.startswith("https://") else b""
    except (OSError, HTTPException, ValueError) as error:  # a URLError is an OSError
        raise UsageError(
            f"{address} could not be fetched: {error}.", next_step="Download it and name the file."
        ) from error
    if not final.startswith("https://"):
        raise UsageError(
            f"{address} leads to {final}, which anyone on the way can change.", next_step="Name an https address."
        )
    if len(data) > _MOST_BYTES:
        raise UsageError(f"{address} is larger than 64 MiB.", next_step="Download it and name the file.")
    if len(data) < announced:
        raise UsageError(
            f"{address} could not be fetched: it broke off after {len(data):,} of {announced:,} bytes.",
            next_step="Try again, or download it and name the file.",
        )
    return data
