"""Work on one machine of a pool: say what it is, and measure one launch of one case."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from rtxbench import __version__
from rtxbench.errors import RtxbenchError
from rtxbench.fleet.jobs import NodeDescription
from rtxbench.fleet.node import as_started
from rtxbench.gate.environments import search_path
from rtxbench.gate.launching import ArmSource, gate_profile, measure_launch
from rtxbench.gate.pool.parcel import unpacked
from rtxbench.gate.session import ProcessPair
from rtxbench.hardware.environment import describe
from rtxbench.hardware.machine_lock import measuring_alone

__all__ = ["Asked", "Failed", "Measured", "answer", "launch"]


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One launch that a machine is asked for."""

    case: str
    number: int
    profile: str
    """Row of `rtxbench.gate.launching.GATE_PROFILES`."""
    baseline_python: str = ""
    """Interpreter on the machine; its own, which Ray runs in, where empty."""
    candidate_python: str = ""


class Measured(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One launch as measured."""

    pairs: tuple[ProcessPair, ...]


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A launch that an arm did not come through."""

    message: str
    next_step: str


def answer() -> bytes:
    """Describe this machine (a `NodeDescription` without jobs, JSON)."""
    as_started()
    return msgspec.json.encode(NodeDescription(environment=describe(), version=__version__, jobs=()))


def launch(parcel: bytes, asked_json: bytes) -> Iterator[bytes]:
    """Measure one launch; yield `Measured` or `Failed`, JSON."""
    as_started()
    asked = msgspec.json.decode(asked_json, type=Asked)
    with tempfile.TemporaryDirectory(prefix="rtxbench-gate-") as folder:
        trees = unpacked(parcel, Path(folder))
        pythons = (asked.baseline_python or sys.executable, asked.candidate_python or sys.executable)
        old, new = (ArmSource(python, tree, search_path(tree)) for python, tree in zip(pythons, trees, strict=True))
        try:
            with measuring_alone(str):
                pairs = measure_launch(old, new, gate_profile(asked.profile), asked.case, asked.number)
        except RtxbenchError as error:
            yield msgspec.json.encode(Failed(message=error.message, next_step=error.next_step))
        else:
            yield msgspec.json.encode(Measured(pairs=tuple(pairs)))
