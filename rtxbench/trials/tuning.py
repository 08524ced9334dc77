"""tuning: the largest batch that fits, the learning rate × batch that trains fastest, and what EarlyStopping saves."""

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Final, NamedTuple

from msgspec.structs import replace

from rtxbench.records import Case
from rtxbench.trials.context import (
    ArmRuns,
    TrialContext,
    case_of,
    observe,
    paired_by_seed,
    seeds_text,
    train_arms,
    why_no_result,
)
from rtxbench.trials.messages import Probe, Probed, Train, Trained, TrialFailed, TrialReply
from rtxbench.trials.sizes import TARGET_ACCURACIES
from rtxbench.trials.unfinished import images_per_error

__all__ = ["early_stopping_epoch", "largest_batch", "measure_tuning"]

_PATIENCE_EPOCHS: Final = 3
"""The article's EarlyStopping(monitor="val_loss", patience=3)."""
_DEFAULTS: Final = (1e-3, 32)
"""Keras's own learning rate of Adam and batch size of ``fit``: what a listing without either gets."""
_PILOT_SEEDS: Final = (1000, 1001, 1002, 1003)
"""Counted from the run's first seed, beyond those that judge. The slowest one counts: a rate that reaches the target
only from lucky weights must not win the pilot."""
_PENALTY: Final = 2.0
"""A seed that misses its target counts as twice the time it was given (PAR2, as solvers are ranked): leaving it
out would flatter the arm, and leaving the arm out would never count against it."""
_LARGEST_TRIED: Final = 2**20
_CRAWL: Final = 3.0
"""Times as long an example as at a smaller batch: no batch that fits is that much slower than a smaller one."""
_RESOLUTION: Final = 8
"""The search ends when the bracket is an eighth of the batch: finer differences change nothing for a user."""


class _Setting(NamedTuple):
    learning_rate: float
    batch_size: int


def measure_tuning(context: TrialContext) -> None:
    """Measure all three parts, each with records of its own."""
    _largest_batch(context)
    _tuned_against_defaults(context)
    _early_stopping(context)


def largest_batch(context: TrialContext) -> tuple[list[Probed], str | None]:
    """Double from 32 until a step runs out of memory, then bisect; every try is a real training step.

    Returns:
        Every try in order, and why the search ended early, if it did. A worker that died of the attempt counts as
        "does not fit"; the next attempt gets a new one.
    """
    tries: list[Probed] = []
    low, high = 0, 0
    batch = 32
    while high == 0 or high - low > max(1, low // _RESOLUTION):
        context.progress(f"tuning: does batch {batch} fit?", len(tries), 20)
        reply = _probe(context, batch)
        if isinstance(reply, str):
            return tries, reply
        reply = _crawling(reply, tries)
        tries.append(reply)
        low, high = (batch, high) if reply.fits else (low, batch)
        if not reply.fits and reply.device_kind == "cpu":
            context.fresh_worker()  # what the failed step left behind would count against the next one's limit
        if low >= _LARGEST_TRIED or high == 1:
            return tries, None
        batch = (low + high) // 2 if high else low * 2
    return tries, None


def _crawling(found: Probed, earlier: Sequence[Probed]) -> Probed:
    """Call a batch too large whose examples take thrice as long on a GPU as those of a smaller one.

    Where the driver pages a full card's memory to the host's (WSL2, Windows), nothing runs out: it crawls.
    """
    steps_s = {one.batch_size: one.step_s for one in earlier if one.step_s is not None}
    if found.device_kind != "gpu" or found.step_s is None or not steps_s:
        return found
    slower = found.step_s / found.batch_size / min(step_s / batch for batch, step_s in steps_s.items())
    if slower < _CRAWL:
        return found
    reason = f"an example takes {slower:.0f} times as long as at a smaller batch: memory is paged to the host"
    return replace(found, fits=False, reason=reason)


def _probe(context: TrialContext, batch_size: int) -> Probed | str:
    """Try the batch size; return the reason where the try could not be made."""
    # The worker knows where it trains: the limit binds a step on the CPU, whatever the driver lists.
    limit = context.scale.memory_limit_bytes
    reply = context.answer(Probe(key=f"tuning/probe/{batch_size}", batch_size=batch_size, memory_limit_bytes=limit))
    if isinstance(reply, Probed):
        return reply
    if isinstance(reply, TrialFailed) and reply.worker_lost:
        return Probed(
            key=reply.key,
            batch_size=batch_size,
            device_kind="gpu" if context.environment.gpus else "cpu",
            fits=False,
            step_s=None,
            peak_memory_bytes=None,
            reason=reply.message,
        )
    return why_no_result(reply)


def _largest_batch(context: TrialContext) -> None:
    tries, ended = largest_batch(context)
    context.fresh_worker()  # the memory limit of the search must not bind what follows
    fitting = [t for t in tries if t.fits]
    for probed in sorted(fitting, key=lambda t: t.batch_size):
        assert probed.step_s is not None
        case = Case(
            workload="digits-cnn", batch_size=probed.batch_size, placement=probed.device_kind, engine=context.engine
        )
        observe(
            context,
            "tuning",
            "probe_throughput_per_s",
            [probed.batch_size / probed.step_s],
            case=case,
            replicate="step",
        )
    on_gpu = any(probed.device_kind == "gpu" for probed in tries)
    limit = "device memory" if on_gpu else f"{context.scale.memory_limit_bytes} bytes of host memory"
    failed = next((t.reason for t in tries if not t.fits), None)
    labels = {"limit": limit, "tries": str(len(tries)), "first_failure": failed or "none"}
    largest = max((t.batch_size for t in fitting), default=None)
    if ended is not None:
        ended = f"the search ended early, {largest or 'nothing'} fitted: {ended}"
    values = [largest] if largest is not None and ended is None else []
    reason = ended or (None if fitting else failed)
    observe(context, "tuning", "largest_batch_size", values, labels=labels, replicate="search", reason=reason)


def _request(context: TrialContext, setting: _Setting, seed: int, key: str, time_limit_s: float | None = None) -> Train:
    return Train(
        key=f"tuning/{key}/{seed}",
        data=context.scale.data(seed),
        seed=seed,
        batch_size=setting.batch_size,
        learning_rate=setting.learning_rate,
        epochs=2 * context.scale.quality_epochs,
        target_accuracies=TARGET_ACCURACIES,
        stop_at_target=True,
        time_limit_s=time_limit_s,
    )


def _tuned_against_defaults(context: TrialContext) -> None:
    """Choose on pilot seeds, confirm against the defaults on fresh ones: the best of several noisy settings is biased.

    The pilot is a race: once a setting has taken longer than the best so far it cannot win and is stopped. Large rates,
    which learn fast where they learn at all, go first.
    """
    rates = sorted(context.scale.learning_rates, reverse=True)
    grid = [_Setting(*pair) for pair in product(rates, context.scale.batch_sizes)]
    best: tuple[float, _Setting] | None = None
    for number, setting in enumerate(grid):
        context.progress(f"tuning pilot: rate {setting.learning_rate:g}, batch {setting.batch_size}", number, len(grid))
        time_s = _pilot(context, setting, number, None if best is None else best[0])
        if time_s is not None and (best is None or time_s < best[0]):
            best = time_s, setting
    if best is None:
        reason = "no setting reached the target accuracy"
        observe(context, "tuning", "time_to_accuracy_s", (), labels={"arm": "tuned"}, reason=reason)
        return
    settings = {"defaults": _Setting(*_DEFAULTS), "tuned": best[1]}
    _confirm(context, settings)


def _pilot(context: TrialContext, setting: _Setting, number: int, limit_s: float | None) -> float | None:
    """Time the pilot's slowest seed to the target; ``None`` where one did not reach it in ``limit_s``."""
    times: list[float] = []
    case, reason = None, None
    for seed in (context.first_seed + offset for offset in _PILOT_SEEDS):
        request = _request(context, setting, seed, f"pilot/{number}", limit_s)
        run = context.answer(request)
        reason = _why_not_reached(run, limit_s)
        if reason is not None or not isinstance(run, Trained) or run.time_to_target_s is None:
            break
        case = case_of(context, run.dataset, run.device_kind, request, "pilot")
        times.append(run.time_to_target_s)
    observe(
        context,
        "tuning",
        "time_to_accuracy_s",
        () if reason else times,
        case=case,
        labels={"learning_rate": f"{setting.learning_rate:g}", "batch_size": str(setting.batch_size), "arm": "pilot"},
        reason=reason,
    )
    return None if reason else max(times)


def _why_not_reached(run: TrialReply, limit_s: float | None) -> str | None:
    """Return ``None`` where the training reached its target."""
    if not isinstance(run, Trained):
        return why_no_result(run)
    if not run.finite:
        return "the loss was not finite"
    if run.time_to_target_s is not None:
        return None
    if limit_s is not None and sum(run.epoch_s) > limit_s:
        return f"target accuracy not reached within the {limit_s:.2f} s of the best setting so far"
    return f"target accuracy not reached in {len(run.epoch_s)} epochs"


def _confirm(context: TrialContext, settings: dict[str, _Setting]) -> None:
    """Train both on fresh seeds. Where the defaults won the pilot they are what tuning found, and the ratio is 1."""
    arms = {
        name: partial(lambda setting, name, seed: _request(context, setting, seed, name), setting, name)
        for name, setting in settings.items()
        if name == "defaults" or setting != settings["defaults"]
    }
    found, interrupted = train_arms(context, "tuning", arms, context.seeds, launch_per_seed=True)
    defaults = found["defaults"]
    found.setdefault("tuned", ArmRuns("tuned", runs=dict(defaults.runs), failure=defaults.failure))
    for name, arm in found.items():
        _store_confirmed(context, arm, settings[name])
    paired_by_seed(
        context, "tuning", "speed_to_accuracy", (defaults, found["tuned"]), _penalised_speed, "time_to_accuracy_s"
    )
    if interrupted:
        raise KeyboardInterrupt


def _store_confirmed(context: TrialContext, arm: ArmRuns, setting: _Setting) -> None:
    labels = {"learning_rate": f"{setting.learning_rate:g}", "batch_size": str(setting.batch_size), "arm": arm.name}
    if setting == _Setting(*_DEFAULTS) and arm.name == "tuned":
        labels["note"] = "the defaults were the fastest setting of the pilot"
    if not arm.runs:
        observe(context, "tuning", "time_to_accuracy_s", (), labels=labels, reason=arm.failure or "not finished")
        return
    first = arm.trained[0]
    request = _request(context, setting, context.first_seed, arm.name)
    arm.case = case_of(context, first.dataset, first.device_kind, request, arm.name)
    missed = sum(run.time_to_target_s is None for run in arm.trained)
    if missed:
        counted = f"each counts as {_PENALTY:g} times the time it was given"
        labels["missed"] = f"{missed} of {len(arm.trained)} seeds missed the target; {counted}"
    arm.observations["time_to_accuracy_s"] = observe(
        context,
        "tuning",
        "time_to_accuracy_s",
        [1 / _penalised_speed(run) for run in arm.trained],
        case=arm.case,
        labels={**labels, "dataset": first.dataset, "seeds": seeds_text(arm)},
    )


def _penalised_speed(run: Trained) -> float:
    """Return one over the seconds to the target; where it was missed, over the penalty times the seconds spent."""
    return 1 / (_PENALTY * sum(run.epoch_s) if run.time_to_target_s is None else run.time_to_target_s)


def early_stopping_epoch(validation_loss: tuple[float | None, ...], patience: int = _PATIENCE_EPOCHS) -> int:
    """Epochs run by ``EarlyStopping(monitor="val_loss", patience=…)`` on this course of the validation loss.

    Keras counts epochs since the best loss so far and stops when ``patience`` of them passed without a better one.
    """
    best, since = float("inf"), 0
    for epoch, loss in enumerate(validation_loss, 1):
        if loss is not None and loss < best:
            best, since = loss, 0
            continue
        since += 1
        if since >= patience:
            return epoch
    return len(validation_loss)


def _early_stopping(context: TrialContext) -> None:
    """Train over all epochs once per seed for every arm: a smaller budget and a stop are prefixes of its course.

    The article's budget is judged. At others the same trainings say how much of the saving is the budget's.
    """
    found, interrupted = train_arms(
        context, "tuning: EarlyStopping", {"all-epochs": partial(_all_epochs, context)}, context.seeds
    )
    course = found["all-epochs"]
    if not course.runs:
        reason = course.failure or "not finished"
        observe(context, "tuning", "training_s", (), labels={"arm": "all-epochs"}, reason=reason)
        return
    judged, *others = context.scale.stopping_budgets
    _judge_stopping(context, course, judged)
    for epochs in (judged, *others):
        whole = [_first_epochs(run, epochs) for run in course.trained]
        saved = [sum(run.epoch_s) / sum(_cut(run).epoch_s) for run in whole]
        labels = {"arm": "early-stopping", "budget_epochs": str(epochs), "patience": str(_PATIENCE_EPOCHS)}
        observe(context, "tuning", "training_speed_ratio", saved, labels=labels)
    if interrupted:
        raise KeyboardInterrupt


def _judge_stopping(context: TrialContext, course: ArmRuns, epochs: int) -> None:
    whole = ArmRuns("all-epochs", runs={seed: _first_epochs(run, epochs) for seed, run in course.runs.items()})
    stopped = ArmRuns("early-stopping", runs={seed: _cut(run) for seed, run in whole.runs.items()})
    first = course.trained[0]
    for arm in (whole, stopped):
        request = _all_epochs(context, context.first_seed)
        arm.case = case_of(context, first.dataset, first.device_kind, request, variant=arm.name)
        figures = {
            "training_s": [sum(run.epoch_s) for run in arm.trained],
            "epochs": [float(len(run.epoch_s)) for run in arm.trained],
            "validation_loss": [loss for run in arm.trained if (loss := run.validation_loss[-1]) is not None],
            "validation_accuracy_ratio": [run.validation_accuracy[-1] for run in arm.trained],
        }
        labels = {"arm": arm.name, "dataset": first.dataset, "patience": str(_PATIENCE_EPOCHS)}
        labels |= {"budget_epochs": str(epochs), "seeds": seeds_text(course)}
        for metric, values in figures.items():
            arm.observations[metric] = observe(context, "tuning", metric, values, case=arm.case, labels=labels)
    pair, images = (whole, stopped), context.scale.validation
    speed = f"training_speed_of_{epochs}_epochs"
    paired_by_seed(context, "tuning", speed, pair, lambda run: 1 / sum(run.epoch_s), "training_s")
    paired_by_seed(
        context,
        "tuning",
        "images_per_validation_error",
        pair,
        lambda run: images_per_error(run.validation_accuracy[-1], images),
        "validation_accuracy_ratio",
    )


def _all_epochs(context: TrialContext, seed: int) -> Train:
    return Train(
        key=f"tuning/stopping/{seed}",
        data=context.scale.data(seed),
        seed=seed,
        learning_rate=3e-3,
        epochs=max(context.scale.stopping_budgets),
    )


def _cut(run: Trained) -> Trained:
    """Cut the training where EarlyStopping would have stopped it."""
    return _first_epochs(run, early_stopping_epoch(run.validation_loss))


def _first_epochs(run: Trained, epochs: int) -> Trained:
    """Cut the training after so many epochs."""
    return replace(
        run,
        epoch_s=run.epoch_s[:epochs],
        validation_accuracy=run.validation_accuracy[:epochs],
        validation_loss=run.validation_loss[:epochs],
    )
