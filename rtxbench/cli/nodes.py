"""Carry out ``rtxbench run --nodes``: one training job over several machines, as rank 0 or as one of the others."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

from rtxbench.cli.groups import measure_groups, raise_if_nothing_came
from rtxbench.hardware.environment import describe
from rtxbench.hardware.machine_lock import measuring_alone
from rtxbench.measure.groups import Request
from rtxbench.measure.profiles import Profile
from rtxbench.measure.progress import Waiting
from rtxbench.measure.session import Session
from rtxbench.nodes.agent import serve_ranks
from rtxbench.nodes.hub import gathered
from rtxbench.nodes.launcher import Seat, forget_launcher, seat_of, token_of
from rtxbench.planning.engine_gpus import usable_gpus
from rtxbench.planning.nodes import node_groups

__all__ = ["LAUNCHER", "run_on_nodes"]

LAUNCHER: Final = "launcher"
"""Value of ``--nodes``: adopt what torchrun, srun or TF_CONFIG says of this process."""


def run_on_nodes(
    request: Request, profile: Profile, results_dir: Path, command: Sequence[str], *, quiet: bool, wait: bool
) -> Path | None:
    """Measure workloads on one node and on all, and return the results file; ``None`` on every rank but the first.

    Args:
        request: what to measure, and in ``nodes`` where the other nodes come from: `LAUNCHER`, or a Ray cluster.
        profile: for how long.
        results_dir: usually ``results``.
        command: the command line, for the record.
        quiet: show no progress.
        wait: wait for another measurement on this machine to end; else refuse.

    Raises:
        UsageError: options of other runs, or no launcher and no cluster.
        UnavailableError: rank 0 cannot be reached.
        MeasurementError: nothing could be measured.
        KeyboardInterrupt: after the finished launches were stored.
    """
    environment, _refused = usable_gpus(describe(), (request.engine,))
    told, limit_s = _silent if quiet else _tell, request.nodes_wait_s
    with _place(request.nodes, environment.machine, limit_s, told) as (seat, token):
        if seat.rank > 0:
            serve_ranks(seat, token, environment.machine, limit_s, told)
            return None
        groups = node_groups(request, environment, seat.world)
        with (
            gathered(seat, token, environment.machine, limit_s, told),
            measuring_alone(_tell, wait=wait),
            Session(results_dir, profile, tuple(command), environment=environment) as session,
        ):
            measure_groups(session, groups, quiet=quiet)
            if session.can_explain:
                with nullcontext() if quiet else Waiting("measuring the link, and what explains the figures"):
                    session.explain()
    raise_if_nothing_came(session.path)
    return session.path


@contextmanager
def _place(source: str, machine: str, limit_s: float, told: Callable[[str], None]) -> Iterator[tuple[Seat, str]]:
    """Yield this process's seat and the run's token; agents that Ray carries to its nodes end with the context."""
    if source == LAUNCHER:
        seat, token = seat_of(), token_of()
        forget_launcher()
        yield seat, token
        return
    from rtxbench.fleet.node_ranks import by_ray

    with by_ray(source, limit_s, told) as place:
        yield place


def _tell(text: str) -> None:
    sys.stderr.write(f"rtxbench: {text}\n")


def _silent(text: str) -> None:
    pass
