"""Sweep the suite over the machines of a cluster: a job at a time on each, every record brought home once.

::

    cluster ── nodes ──► environment, jobs ──► queues: one a machine, or one for all of equal hardware
    queue ── job ──► node: rtxbench run ── lines ──► inbox ── whole and checked ──► results/<machine>/ ──► ledger
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from rtxbench import __version__
from rtxbench.errors import MeasurementError, RecordError, UnavailableError
from rtxbench.fleet.cluster import Cluster, Lost, Node, Stream
from rtxbench.fleet.inbox import Inbox, forget_drafts
from rtxbench.fleet.jobs import ClusterMachine, Finished, Home, Job, NodeDescription, Progress, Sweep, with_unique_names
from rtxbench.fleet.ledger import Ledger
from rtxbench.fleet.node import answer, measure

__all__ = ["Fleet", "Outcome", "State", "machines_of"]

_TRIES: Final = 3
"""Attempts at a job whose node died or whose process failed without a record."""
_Item = Progress | Home | Finished


class State(NamedTuple):
    """The state of one machine of a sweep."""

    machine: str
    there: bool
    job: str
    """Now being measured; empty while idle."""
    text: str
    """The last line that its process printed."""
    done: int
    left_s: float
    """Of its queue, predicted."""


class Outcome(NamedTuple):
    """The end of a sweep."""

    done: int
    """Jobs that came home, earlier ones of a resumed sweep included."""
    failed: tuple[str, ...]
    """Jobs that ended without a record, each with its machine and reason."""
    left: tuple[str, ...]
    """Jobs that nobody measured: their machine did not come back."""


class _Attempt(NamedTuple):
    node: Node
    machine: ClusterMachine
    job: Job
    stream: Stream
    inbox: Inbox


def machines_of(cluster: Cluster, nodes: Sequence[Node], sweep: Sweep) -> list[ClusterMachine]:
    """Ask every node what it is and what the sweep comes to on it.

    Raises:
        UnavailableError: no node answers, or one has another version of rtxbench.
    """
    answers = []
    for node, raw in zip(nodes, cluster.ask_all(nodes, answer, msgspec.json.encode(sweep)), strict=True):
        if isinstance(raw, Lost):
            raise UnavailableError(
                f"node {node.address} cannot run rtxbench: {raw.reason}",
                next_step="Install the same rtxbench on every node, or name what to install with --environment.",
            )
        answers.append((node.node_id, node.address, msgspec.json.decode(raw, type=NodeDescription)))
    if not answers:
        raise UnavailableError("the cluster has no live node.", next_step="Start one: `ray start --address HOST:6379`.")
    others = {a.version for _, _, a in answers} - {__version__}
    if others:
        raise UnavailableError(
            f"nodes have rtxbench {', '.join(sorted(others))}, this machine {__version__}.",
            next_step="Install one version everywhere; figures of two versions are not compared.",
        )
    return with_unique_names(answers)


class Fleet:
    """One sweep over a cluster.

    Args:
        cluster: where.
        sweep: what.
        results_dir: where records come home to.
        resume: leave out what an earlier sweep of the same request brought home.
        share: machines of equal hardware share the jobs, instead of each measuring all.
        patience_s: time to wait for a lost machine to come back when nothing else is left.
        look_s: time between two looks at which nodes are there.
        told: called with the state of all machines, at every change.
    """

    def __init__(
        self,
        cluster: Cluster,
        sweep: Sweep,
        results_dir: Path,
        *,
        resume: bool = False,
        share: bool = False,
        patience_s: float = 60.0,
        look_s: float = 5.0,
        told: Callable[[Sequence[State]], None] = lambda states: None,
    ) -> None:
        self._cluster, self._sweep, self._results_dir = cluster, sweep, results_dir
        self._share, self._patience_s, self._look_s, self._told = share, patience_s, look_s, told
        forget_drafts(results_dir)
        self._ledger = Ledger(results_dir, sweep, resume=resume)
        self._machines: dict[str, ClusterMachine] = {}
        self._queues: dict[str, deque[Job]] = {}
        self._tries: dict[tuple[str, str], int] = {}
        self._running: dict[str, _Attempt] = {}
        self._texts: dict[str, str] = {}
        self._nodes: dict[str, Node] = {}

    def run(self) -> Outcome:
        """Measure until every queue is empty, or only machines that do not come back have jobs left.

        Raises:
            KeyboardInterrupt: after the jobs under way were ended; what came home stays.
        """
        alone_since: float | None = None
        looked = float("-inf")
        try:
            while True:
                if time.monotonic() - looked >= self._look_s:
                    self._look()
                    looked = time.monotonic()
                self._start_jobs()
                if not self._running:
                    if not any(self._queues.values()):
                        break
                    alone_since = alone_since or time.monotonic()
                    if time.monotonic() - alone_since > self._patience_s:
                        break
                    time.sleep(min(0.5, self._look_s))
                    continue
                alone_since = None
                self._collect()
        finally:
            for attempt in self._running.values():
                attempt.stream.cancel()
                attempt.inbox.forget()
        return self._outcome()

    def _look(self) -> None:
        """See which nodes are there; ask new ones what they are, and give them a queue."""
        live = {node.node_id: node for node in self._cluster.nodes()}
        if live.keys() == self._nodes.keys() and live:
            return
        new = [node for node_id, node in live.items() if node_id not in self._nodes]
        known = [machine for machine in self._machines.values() if machine.node_id in live]
        if new or not self._queues:  # the others are not asked: they are being measured
            known += machines_of(self._cluster, new, self._sweep)
        self._nodes, self._machines = live, {machine.name: machine for machine in known}
        for machine in known:
            if self._queue_name(machine) not in self._queues:
                self._queues[self._queue_name(machine)] = self._jobs_left(machine)
        self._tell()

    def _queue_name(self, machine: ClusterMachine) -> str:
        return machine.answer.environment.machine if self._share else machine.name

    def _jobs_left(self, machine: ClusterMachine) -> deque[Job]:
        done = self._ledger.done()
        if self._share:
            names = {job for name, job in done if name.startswith(machine.answer.environment.machine)}
        else:
            names = {job for name, job in done if name == machine.name}
        return deque(job for job in machine.answer.jobs if job.name not in names)

    def _start_jobs(self) -> None:
        for machine in self._machines.values():
            queue = self._queues[self._queue_name(machine)]
            if machine.name in self._running or not queue:
                continue
            job, node = queue.popleft(), self._nodes[machine.node_id]
            arguments = msgspec.json.encode(self._sweep), msgspec.json.encode(job), machine.suffix
            stream = self._cluster.start(node, measure, *arguments)
            inbox = Inbox(self._results_dir / machine.name)
            self._running[machine.name] = _Attempt(node, machine, job, stream, inbox)
            self._tell()

    def _collect(self) -> None:
        by_stream = {attempt.stream: attempt for attempt in self._running.values()}
        for stream in self._cluster.ready(list(by_stream), limit_s=1.0):
            self._take(by_stream[stream])

    def _take(self, attempt: _Attempt) -> None:
        try:
            raw = attempt.stream.next()
        except MeasurementError as error:
            self._ended(attempt, (), str(error))
            return
        if raw is None or isinstance(raw, Lost):
            self._ended(attempt, (), "its process ended early" if raw is None else f"the node was lost ({raw.reason})")
            return
        item = msgspec.json.decode(raw, type=_Item)
        if isinstance(item, Home):
            attempt.inbox.put(item)
        elif isinstance(item, Progress):
            self._texts[attempt.machine.name] = item.text
            self._tell()
        else:
            self._finished(attempt, item)

    def _finished(self, attempt: _Attempt, item: Finished) -> None:
        try:
            runs = tuple(f"{loaded.run.run_id}.jsonl" for loaded in attempt.inbox.accept())
        except RecordError as error:
            self._ended(attempt, (), str(error))
            return
        self._ended(attempt, runs, item.complaint or "it ended without a record")

    def _ended(self, attempt: _Attempt, runs: tuple[str, ...], complaint: str) -> None:
        """Enter the job in the ledger, or put it back in its queue to be measured again."""
        name = attempt.machine.name
        del self._running[name]
        attempt.inbox.forget()
        self._texts.pop(name, None)
        key = self._queue_name(attempt.machine), attempt.job.name
        self._tries[key] = self._tries.get(key, 0) + 1
        if runs:
            self._ledger.add(name, attempt.job, runs)
        elif self._tries[key] < _TRIES:
            self._queues[key[0]].append(attempt.job)
        else:
            self._ledger.add(name, attempt.job, (), complaint)
        self._tell()

    def _tell(self) -> None:
        self._told([self._state(machine) for machine in sorted(self._known())])

    def _known(self) -> Iterable[str]:
        return {*self._machines, *(entry.machine for entry in self._ledger.entries)}

    def _state(self, name: str) -> State:
        machine, attempt = self._machines.get(name), self._running.get(name)
        queue = self._queues.get(self._queue_name(machine), ()) if machine else ()
        left_s = sum(job.seconds for job in (*queue, *([attempt.job] if attempt else [])))
        return State(
            machine=name,
            there=machine is not None,
            job=attempt.job.name if attempt else "",
            text=self._texts.get(name, ""),
            done=sum(entry.machine == name and bool(entry.runs) for entry in self._ledger.entries),
            left_s=left_s,
        )

    def _outcome(self) -> Outcome:
        failed = tuple(f"{e.job} on {e.machine}: {e.complaint}" for e in self._ledger.entries if not e.runs)
        left = tuple(f"{job.name} on {name}" for name, queue in self._queues.items() for job in queue)
        return Outcome(len(self._ledger.done()), failed, left)
