"""Adopt the processes that a launcher has started: torchrun, srun, or whatever sets TF_CONFIG."""

import json
import os
import re
from collections.abc import Callable, Mapping, MutableMapping
from typing import Final, NamedTuple

from rtxbench.errors import UsageError

__all__ = ["PORT_VARIABLE", "TOKEN_VARIABLE", "Seat", "forget_launcher", "seat_of", "token_of"]

TOKEN_VARIABLE: Final = "RTXBENCH_NODES_TOKEN"
PORT_VARIABLE: Final = "RTXBENCH_NODES_PORT"
_PORT: Final = 29611
_LEAST_TOKEN_LENGTH: Final = 16


class Seat(NamedTuple):
    """The place that a launcher gave this process."""

    rank: int
    world: int
    address: str
    """Host name or address of rank 0."""
    port: int
    """Port that the agents meet rank 0 at."""
    device: int = 0
    """Number of this process among those on its node."""


def seat_of(environ: Mapping[str, str] = os.environ) -> Seat:
    """Read this process's place from the first launcher that has left one.

    Raises:
        UsageError: none has.
    """
    for read in _LAUNCHERS:
        seat = read(environ)
        if seat is not None:
            return seat
    raise UsageError(
        "no launcher has given this process a rank.",
        next_step="Start it by torchrun, srun or with TF_CONFIG, or name a Ray cluster: --nodes HOST:PORT.",
    )


def token_of(environ: Mapping[str, str] = os.environ) -> str:
    """Read the run's token, by which nodes know each other.

    Raises:
        UsageError: there is none, or one that could be guessed.
    """
    token = environ.get(TOKEN_VARIABLE, "")
    if len(token) < _LEAST_TOKEN_LENGTH:
        raise UsageError(
            f"{TOKEN_VARIABLE} is not set, or is shorter than {_LEAST_TOKEN_LENGTH} characters.",
            next_step=f"Set it to one value on every node: export {TOKEN_VARIABLE}=$(openssl rand -hex 16).",
        )
    return token


def forget_launcher(environ: MutableMapping[str, str] = os.environ) -> None:
    """Remove what the launcher left: frameworks would read it, also in the arms that train on one node.

    That includes the one thread that torchrun gives each of several processes on a node.
    """
    by_torchrun = any(name.startswith("TORCHELASTIC_") for name in environ)
    if by_torchrun and environ.get("OMP_NUM_THREADS") == "1":
        del environ["OMP_NUM_THREADS"]
    for name in list(environ):
        if name in _LEFT or name.startswith(("TORCHELASTIC_", "SLURM_")):
            del environ[name]


_LEFT: Final = frozenset(
    {
        *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT", "TF_CONFIG"),
        *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE"),
    }
)


def _torchrun(environ: Mapping[str, str]) -> Seat | None:
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= environ.keys():
        return None
    port = int(environ.get("MASTER_PORT", _PORT - 1)) + 1  # torchrun's own store listens at the port itself
    return Seat(
        int(environ["RANK"]),
        int(environ["WORLD_SIZE"]),
        environ["MASTER_ADDR"],
        int(environ.get(PORT_VARIABLE, port)),
        int(environ.get("LOCAL_RANK", 0)),
    )


def _srun(environ: Mapping[str, str]) -> Seat | None:
    hosts = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_NODELIST") or environ.get("SLURM_JOB_NODELIST")
    world = environ.get("SLURM_STEP_NUM_TASKS") or environ.get("SLURM_NTASKS")
    if hosts is None or world is None or "SLURM_PROCID" not in environ:
        return None
    return Seat(
        int(environ["SLURM_PROCID"]),
        int(world),
        first_host(hosts),
        int(environ.get(PORT_VARIABLE, _PORT)),
        int(environ.get("SLURM_LOCALID", 0)),
    )


def first_host(hosts: str) -> str:
    """Return the first of Slurm's list of nodes: ``rack[03-07,12],login`` begins with ``rack03``."""
    match = re.match(r"([^\[,]+)(?:\[(\d+)[^\]]*\]([^,]*))?", hosts)
    if match is None:
        raise UsageError(f"no host name in {hosts!r}.", next_step="Check SLURM_NODELIST.")
    return "".join(part or "" for part in match.groups())


def _tf_config(environ: Mapping[str, str]) -> Seat | None:
    if "TF_CONFIG" not in environ:
        return None
    try:
        config = json.loads(environ["TF_CONFIG"])
        workers, task = config["cluster"]["worker"], config["task"]
        host, _, port = workers[0].rpartition(":")
        rank, kind = int(task["index"]), task["type"]
        meeting = int(environ.get(PORT_VARIABLE, int(port) + 1))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise UsageError(
            f"TF_CONFIG cannot be read: {error!r}.",
            next_step='Its form: {"cluster": {"worker": ["HOST:PORT", …]}, "task": {"type": "worker", "index": 0}}.',
        ) from error
    if kind != "worker":
        raise UsageError(f"TF_CONFIG gives this process the task {kind!r}.", next_step="Make it a worker.")
    return Seat(rank, len(workers), host.strip("[]"), meeting)


_LAUNCHERS: Final[tuple[Callable[[Mapping[str, str]], Seat | None], ...]] = (_torchrun, _srun, _tf_config)
