"""Give every trial its worker, the run's records, the scale and progress; turn replies into records."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from rtxbench.records import Case, Environment, Observation, RatioRecord, Record
from rtxbench.results.store import new_record_id, now
from rtxbench.stats import launch_estimate, ratio_estimate, smallest_effect
from rtxbench.trials.messages import Train, Trained, TrialFailed, TrialReply, TrialRequest
from rtxbench.trials.sizes import Sizes
from rtxbench.trials.unfinished import FINISHED, Unfinished, unfinished
from rtxbench.trials.worker_pool import answer_of

__all__ = [
    "ArmRuns",
    "TrialContext",
    "case_of",
    "observe",
    "paired_by_seed",
    "seeds_text",
    "speed_to_target",
    "train_arms",
    "why_no_result",
]

AskSideBySide: TypeAlias = Callable[[Sequence[TrialRequest]], Iterator[tuple[int, TrialReply]]]


@dataclass
class TrialContext:
    """One trial's surroundings.

    Args:
        run_id: of the run the records belong to.
        environment: of this machine.
        engine: tensorflow, jax or torch.
        scale: how much to train.
        ask: sends a request to the worker and returns its reply.
        append: stores a record.
        fresh_worker: ends the worker; the next request gets a new one.
        first_seed: of this run; each training draws weights, images and order from a seed counted from here.
        ask_side_by_side: sends requests to several workers at once and yields (index, reply) as they come; times in
            such replies mean nothing.
        progress: told (what is being done, done, of how many).
    """

    run_id: str
    environment: Environment
    engine: str
    scale: Sizes
    ask: Callable[[TrialRequest], TrialReply]
    append: Callable[[Record], None]
    fresh_worker: Callable[[], None] = lambda: None
    first_seed: int = 0
    ask_side_by_side: AskSideBySide | None = None
    progress: Callable[[str, int, int], None] = lambda what, done, count: None
    records: list[Record] = field(default_factory=list)
    """Everything this trial stored."""

    @property
    def seeds(self) -> range:
        """The replicates of every comparison of this run; no other run draws the same."""
        return range(self.first_seed, self.first_seed + self.scale.seeds)

    def store(self, record: Record) -> None:
        """Append to the results file at once."""
        self.append(record)
        self.records.append(record)

    def answer(self, request: TrialRequest) -> TrialReply:
        """Ask the worker; a failure becomes a `TrialFailed`, so that the other trials go on."""
        return answer_of(self.ask, request)


@dataclass
class ArmRuns:
    """One arm of a trial: its trainings by seed, or why it was given up."""

    name: str
    case: Case | None = None
    runs: dict[int, Trained] = field(default_factory=dict)
    failure: str | None = None
    observations: dict[str, Observation] = field(default_factory=dict)
    """Metric → its stored record."""

    @property
    def trained(self) -> list[Trained]:
        """The trainings in order of seed."""
        return [self.runs[seed] for seed in sorted(self.runs)]


def case_of(context: TrialContext, dataset: str, kind: str, request: Train, variant: str = "") -> Case:
    """Return the case a training stands for. The data set is part of the workload's name: sets never mix.

    Args:
        context: names the engine.
        dataset: the one really trained on, as the reply says: where MNIST cannot be had, it is the generated digits.
        kind: cpu or gpu, where it ran.
        request: gives batch size and precision.
        variant: sets arms apart that differ in nothing a `Case` holds.
    """
    return Case(
        workload="mnist-cnn" if dataset == "mnist" else "digits-cnn",
        batch_size=request.batch_size,
        precision=request.precision,
        placement=kind,
        engine=context.engine,
        variant=variant,
    )


def train_arms(
    context: TrialContext,
    title: str,
    arms: Mapping[str, Callable[[int], Train]],
    seeds: Sequence[int],
    *,
    timed: bool = True,
    launch_per_seed: bool = False,
) -> tuple[dict[str, ArmRuns], bool]:
    """Train every arm from every seed, arms in turning order within a seed so that a drift meets all of them.

    An arm whose training fails is given up with its reason; the others go on.

    Args:
        context: of the trial.
        title: for progress.
        arms: name → seed → request.
        seeds: the replicates.
        timed: whether anybody will read the trainings' times; if not, they may run side by side.
        launch_per_seed: whether each seed gets a worker process of its own, so that its time is one launch's, too.

    Returns:
        The arms, and whether Ctrl-C ended it early: the seeds finished by then are in the arms.
    """
    found = {name: ArmRuns(name) for name in arms}
    names = list(arms)
    turns = [names[number % len(names) :] + names[: number % len(names)] for number in range(len(seeds))]
    order = [(name, seed) for seed, turn in zip(seeds, turns, strict=True) for name in turn]
    try:
        if timed or context.ask_side_by_side is None:
            _one_by_one(context, title, arms, order, found, launch_per_seed=launch_per_seed)
        else:
            _side_by_side(context, context.ask_side_by_side, title, arms, order, found)
    except KeyboardInterrupt:
        return found, True
    return found, False


def _one_by_one(
    context: TrialContext,
    title: str,
    arms: Mapping[str, Callable[[int], Train]],
    order: Sequence[tuple[str, int]],
    found: dict[str, ArmRuns],
    *,
    launch_per_seed: bool = False,
) -> None:
    for done, (name, seed) in enumerate(order):
        if launch_per_seed and done and seed != order[done - 1][1]:
            context.fresh_worker()
        context.progress(f"{title}: {name}, seed {seed}", done, len(order))
        if found[name].failure is None:
            _keep(found, name, seed, context.answer(arms[name](seed)))


def _side_by_side(
    context: TrialContext,
    ask: AskSideBySide,
    title: str,
    arms: Mapping[str, Callable[[int], Train]],
    order: Sequence[tuple[str, int]],
    found: dict[str, ArmRuns],
) -> None:
    """Train in parallel; retry alone any training whose worker died, most likely for lack of memory."""
    context.progress(f"{title}: side by side", 0, len(order))
    again = []
    for done, (index, reply) in enumerate(ask([arms[name](seed) for name, seed in order]), 1):
        name, seed = order[index]
        context.progress(f"{title}: {name}, seed {seed} done", done, len(order))
        if isinstance(reply, TrialFailed) and reply.worker_lost:
            again.append((name, seed))
        else:
            _keep(found, name, seed, reply)
    _one_by_one(context, title, arms, again, found)


def _keep(found: dict[str, ArmRuns], name: str, seed: int, reply: TrialReply) -> None:
    """Put the reply on its arm. One failed seed gives the whole arm up: those that survived are not like the rest."""
    arm = found[name]
    if arm.failure is not None:
        return
    if not isinstance(reply, Trained):
        arm.failure = why_no_result(reply)
    elif not reply.finite:
        arm.failure = f"the loss was not finite from seed {seed}"
    elif any(seed in other.runs and other.runs[seed].checksum != reply.checksum for other in found.values()):
        arm.failure = f"seed {seed} was trained on other images ({reply.dataset}) than in the other arms"
    elif any(run.dataset != reply.dataset for other in found.values() for run in other.runs.values()):
        arm.failure = f"seed {seed} was trained on another set ({reply.dataset}) than those before it"
    else:
        arm.runs[seed] = reply
        return
    arm.runs.clear()


def seeds_text(arm: ArmRuns) -> str:
    """Name the seeds an arm was trained from, for its label: they draw weights, order and images, and repeat a run."""
    return ", ".join(map(str, sorted(arm.runs)))


def why_no_result(reply: TrialReply) -> str:
    """Give the worker's reason for a reply that is not the result asked for."""
    return reply.message if isinstance(reply, TrialFailed) else f"unexpected reply {type(reply).__name__}"


def observe(
    context: TrialContext,
    topic: str,
    metric: str,
    values: Iterable[float],
    *,
    case: Case | None = None,
    labels: dict[str, str] | None = None,
    replicate: str = "seed",
    reason: str | None = None,
) -> Observation:
    """Store one observed figure with its mean and interval over replicates; or why there is none.

    Args:
        context: of the trial.
        topic: the claim it speaks to.
        metric: name ending in its unit.
        values: one per replicate, in that unit.
        case: what was trained.
        labels: what else sets this figure apart.
        replicate: what one value stands for: seed, repeat, search.
        reason: why there are no values; dropped where there are.
    """
    kept = tuple(float(value) for value in values)
    record = Observation(
        record_id=new_record_id(),
        run_id=context.run_id,
        topic=topic,
        metric=metric,
        values=kept,
        replicate=replicate,
        finished_at=now(),
        case=case,
        estimate=launch_estimate(kept) if kept else None,
        labels=labels or {},
        reason=reason if not kept else None,
    )
    context.store(record)
    return record


def speed_to_target(run: Trained) -> float | None:
    """Invert the time a training took to its target accuracy; ``None`` where it never got there."""
    return None if run.time_to_target_s is None else 1 / run.time_to_target_s


def paired_by_seed(
    context: TrialContext,
    topic: str,
    metric: str,
    arms: tuple[ArmRuns, ArmRuns],
    values: Callable[[Trained], float | None],
    evidence: str,
    *,
    of_finished: bool = False,
) -> None:
    """Store candidate ÷ baseline of ``metric``, paired by seed; nothing where a seed has no value on either side.

    Args:
        context: of the trial.
        topic: claim id.
        metric: of the ratio; above 1 the candidate is better.
        arms: baseline, candidate.
        values: what of a training is compared; ``None`` where it has none (target not reached).
        evidence: metric of the observations that hold each arm's own values.
        of_finished: whether the metric is meant of trainings that have converged; the record says what they lacked.
    """
    baseline, candidate = arms
    seeds = sorted(baseline.runs.keys() & candidate.runs.keys())
    logs = _log_ratios([(values(baseline.runs[seed]), values(candidate.runs[seed])) for seed in seeds])
    observed = baseline.observations.get(evidence), candidate.observations.get(evidence)
    if not logs or observed[0] is None or observed[1] is None:
        return
    assert baseline.case is not None and candidate.case is not None
    rest = _unfinished(context, arms, seeds) if of_finished else FINISHED
    context.store(
        RatioRecord(
            record_id=new_record_id(),
            run_id=context.run_id,
            group=f"{topic}/{metric}",
            baseline=baseline.case,
            candidate=candidate.case,
            baseline_record=observed[0].record_id,
            candidate_record=observed[1].record_id,
            metric=metric,
            replicate="seed",
            log_ratios=logs,
            seeds=tuple(seeds),
            ratio=ratio_estimate(logs),
            smallest_effect_ratio=smallest_effect(logs),
            warmup_ok=True,  # traced before the clock; each seed is one whole training
            finished_at=now(),
            unfinished_log_ratio=rest.log_ratio,
            flags=rest.flags,
        )
    )


def _log_ratios(pairs: Sequence[tuple[float | None, float | None]]) -> tuple[float, ...]:
    """Give ln(candidate ÷ baseline) of every pair; nothing at all where one lacks a side."""
    logs = tuple(math.log(b / a) for a, b in pairs if a is not None and b is not None and a > 0 and b > 0)
    return logs if len(logs) == len(pairs) else ()


def _unfinished(context: TrialContext, arms: tuple[ArmRuns, ArmRuns], seeds: Sequence[int]) -> Unfinished:
    first, second = ([arm.runs[seed].validation_accuracy for seed in seeds] for arm in arms)
    return unfinished(arms[0].name, arms[1].name, first, second, context.scale.validation)
