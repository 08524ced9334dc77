"""One results file made fit to be given away: no path, no name of a person, no serial number; its digest in its name.

What a figure depends on stays: processor, cards, driver, versions, switches, and every measured value.
"""

import re
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from rtxbench.processes import run_git
from rtxbench.records import CaseRecord, Observation, RatioRecord, Run
from rtxbench.results.store import LoadedRun

__all__ = ["anonymous", "anonymous_json", "describe_shared", "issue_address", "shared_name"]

_PATH: Final = re.compile(r"(?<![\w.:/])(?:~|[A-Za-z]:\\|/)(?:[^\s'\",;:()|]*[\\/])[^\s'\",;:()|]*")
"""A path with at least one folder in it: of a home, a project, a temporary file."""
_UUID: Final = re.compile(r"(?:GPU|MIG)-[0-9a-fA-F-]{8,}")
_ADDRESS: Final = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")


def anonymous(loaded: LoadedRun) -> bytes:
    """Encode a run and its records as JSON lines in which no text holds a path, an address or a card's serial number.

    GPUs are numbered in the order they are met, so that two figures of one card stay figures of one card.
    """
    numbers: dict[str, str] = {}
    lines = [_cleaned(loaded.run, numbers), *(_cleaned(record, numbers) for record in loaded.records)]
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def anonymous_json(document: msgspec.Struct) -> bytes:
    """Encode one document, cleaned as `anonymous` cleans a run, as a line of JSON."""
    return msgspec.json.encode(_cleaned(document, {})) + b"\n"


def _cleaned(value: msgspec.Struct, numbers: dict[str, str]) -> Any:
    return _walk(msgspec.to_builtins(value), numbers)


def _walk(value: Any, numbers: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {_text(key, numbers): _walk(item, numbers) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_walk(item, numbers) for item in value]
    return _text(value, numbers) if isinstance(value, str) else value


def _text(text: str, numbers: dict[str, str]) -> str:
    text = _UUID.sub(lambda found: numbers.setdefault(found.group(), f"GPU-{len(numbers)}"), text)
    return _ADDRESS.sub("ADDRESS", _PATH.sub("PATH", text))


def shared_name(shared: bytes) -> str:
    """Name the file by machine, run and the first half of its digest: two different files never share a name."""
    run = msgspec.json.decode(shared.splitlines()[0], type=Run)
    return f"{run.environment.machine}-{run.run_id}-{sha256(shared).hexdigest()[:16]}.jsonl"


def describe_shared(shared: bytes) -> str:
    """Show what the file holds, field by field of its header, and how many records."""
    run = msgspec.json.decode(shared.splitlines()[0], type=Run)
    environment = run.environment
    records = [
        msgspec.json.decode(line, type=CaseRecord | RatioRecord | Observation) for line in shared.splitlines()[1:]
    ]
    rows = {
        "machine": environment.machine,
        "processor": environment.cpu.name,
        "GPUs": ", ".join(gpu.name for gpu in environment.gpus) or "none",
        "system": f"{environment.operating_system}, {environment.python}",
        "packages": ", ".join(f"{name} {version}" for name, version in environment.packages.items()),
        "switches": ", ".join(f"{name}={value}" for name, value in environment.libraries.items()) or "none",
        "measured": f"{run.started_at}, profile {run.profile}",
        "command": " ".join(run.command),
        "records": str(len(records)),
    }
    lines = [f"  {name:<10} {value}" for name, value in rows.items()]
    head = "The file holds this and the measured values; paths, addresses and serial numbers are taken out:"
    return "\n".join([head, *lines])


def issue_address() -> str:
    """Find where to send it: the issue form of the repository this copy was cloned from."""
    try:
        done = run_git(Path.cwd(), "remote", "get-url", "origin", timeout_s=10)
    except (OSError, subprocess.TimeoutExpired):
        done = None
    found = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?\s*$", done.stdout) if done else None
    if found is None:
        return "an issue or pull request in the repository you cloned rtxbench from"
    return f"https://github.com/{found.group(1)}/issues/new?template=share-results.yml"
