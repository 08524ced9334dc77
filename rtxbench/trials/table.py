"""The claims that are no throughput: quality, architecture, tuning, augmentation, deployment, split-model check.

Each trial asks the worker, stores an `Observation` per arm and figure with one value per seed, and a `RatioRecord`
with ``replicate="seed"`` per comparison. A trial that cannot run stores an observation with its reason.
"""

import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from rtxbench.errors import UsageError
from rtxbench.measure.session import Session
from rtxbench.precision import PRECISIONS, why_not
from rtxbench.records import TRIAL_FINISHED, Case, Observation, Record
from rtxbench.results.store import new_record_id, now
from rtxbench.trials.context import (
    ArmRuns,
    TrialContext,
    case_of,
    observe,
    paired_by_seed,
    seeds_text,
    speed_to_target,
    train_arms,
    why_no_result,
)
from rtxbench.trials.deployment import measure_deployment
from rtxbench.trials.messages import Pipeline, Pipelined, Split, SplitChecked, Train, Trained
from rtxbench.trials.sizes import SCALES, TARGET_ACCURACIES, Sizes
from rtxbench.trials.tuning import measure_tuning
from rtxbench.trials.unfinished import images_per_error
from rtxbench.trials.worker_pool import TrialWorker, WorkerPool

__all__ = ["TRIALS", "measure_trial"]

Progress = Callable[[str, int, int], None]


def measure_trial(
    topic: str,
    session: Session,
    engine: str = "tensorflow",
    progress: Progress = lambda what, done, count: None,
    scale: Sizes | None = None,
    first_seed: int | None = None,
) -> list[Record]:
    """Run one trial in a worker of its own and store its records in the session.

    Args:
        topic: row of `TRIALS`.
        session: of the run; gives profile and environment, stores the records.
        engine: tensorflow, jax or torch.
        progress: told (what is being done, done, of how many).
        scale: instead of the profile's own.
        first_seed: of another run's records, to repeat it; drawn anew where ``None``.

    Raises:
        UsageError: no such trial.
        KeyboardInterrupt: after the finished seeds were stored.
    """
    if topic not in TRIALS:
        raise UsageError(f"no trial measures {topic!r}.", next_step=f"Choose from: {', '.join(TRIALS)}.")
    worker = TrialWorker(engine)
    cores = session.environment.cpu.usable_cores or 1
    context = TrialContext(
        run_id=session.run_id,
        environment=session.environment,
        engine=engine,
        scale=scale or SCALES[session.profile.name],
        ask=worker.result,
        append=session.append,
        fresh_worker=worker.close,
        first_seed=secrets.randbelow(2**24) if first_seed is None else first_seed,
        ask_side_by_side=None if session.environment.gpus or cores < 2 else WorkerPool(engine, cores).answers,
        progress=progress,
    )
    try:
        TRIALS[topic](context)
    finally:
        worker.close()
    session.append(_finished(session.run_id, topic))
    return context.records


def _finished(run_id: str, topic: str) -> Observation:
    """Make the mark that tells a finished trial from one that was killed between two of its records."""
    return Observation(
        record_id=new_record_id(),
        run_id=run_id,
        topic=topic,
        metric=TRIAL_FINISHED,
        values=(1.0,),
        replicate="repeat",
        finished_at=now(),
        purpose="harness",
    )


def measure_quality(context: TrialContext) -> None:
    """equal-quality: the same seeds in float32 and in each reduced precision this device can train in."""
    scale = context.scale
    kind = "gpu" if context.environment.gpus else "cpu"
    skipped = {name: why_not(name, device_kind=kind, compiler="none", **_capability(context)) for name in PRECISIONS}
    arms = {name: partial(_quality_request, scale, name) for name, reason in skipped.items() if reason is None}
    found, interrupted = train_arms(context, "equal-quality", arms, context.seeds, launch_per_seed=True)
    for arm in found.values():
        _store_quality(context, arm)
    for name, reason in skipped.items():
        if reason is not None:
            observe(context, "equal-quality", "validation_accuracy_ratio", (), labels={"arm": name}, reason=reason)
    for name in found:
        if name != "float32":
            pair = found["float32"], found[name]
            paired_by_seed(
                context,
                "equal-quality",
                "images_per_test_error",
                pair,
                partial(_images_per_error, context, "test_accuracy"),
                "test_accuracy_ratio",
                of_finished=True,
            )
            paired_by_seed(context, "equal-quality", "speed_to_accuracy", pair, speed_to_target, "time_to_accuracy_s")
    _raise_if(interrupted)


def _capability(context: TrialContext) -> dict[str, float]:
    gpus = context.environment.gpus
    known = gpus[0].compute_capability if gpus else None
    return {"compute_capability": float(known)} if known else {}


def _quality_request(scale: Sizes, precision: str, seed: int) -> Train:
    return Train(
        key=f"quality/{precision}/{seed}",
        data=scale.data(seed),
        seed=seed,
        precision=precision,
        learning_rate=2e-3,
        epochs=scale.quality_epochs,
        target_accuracies=TARGET_ACCURACIES,
    )


def _observe_failure(context: TrialContext, topic: str, metric: str, arm: ArmRuns) -> None:
    """Store why an arm has no figure at all."""
    reason = arm.failure or "no seed was finished"
    observe(context, topic, metric, (), labels={"arm": arm.name}, reason=reason)


def _store_quality(context: TrialContext, arm: ArmRuns) -> None:
    if not arm.runs:
        _observe_failure(context, "equal-quality", "validation_accuracy_ratio", arm)
        return
    first = arm.trained[0]
    request = _quality_request(context.scale, arm.name, context.first_seed)
    arm.case = case_of(context, first.dataset, first.device_kind, request)
    labels = {"dataset": first.dataset, "seeds": seeds_text(arm), "target": str(first.target_accuracy)}
    figures: dict[str, list[float | None]] = {
        "validation_accuracy_ratio": [_last_accuracy(run) for run in arm.trained],
        "test_accuracy_ratio": [run.test_accuracy for run in arm.trained],
        "training_s": [sum(run.epoch_s) for run in arm.trained],
        "time_to_accuracy_s": [run.time_to_target_s for run in arm.trained],
        "epochs_to_accuracy": [run.epochs_to_target for run in arm.trained],
        "loss_scale_overflows": [run.loss_scale_overflows for run in arm.trained],
    }
    for metric, values in figures.items():
        known = [value for value in values if value is not None]
        if metric == "loss_scale_overflows" and not known:
            continue  # this precision has no loss scale
        short = f"{len(values) - len(known)} of {len(values)} seeds did not reach the target accuracy"
        complete = len(known) == len(values)
        arm.observations[metric] = observe(
            context,
            "equal-quality",
            metric,
            known if complete else (),
            case=arm.case,
            labels={**labels, "arm": arm.name},
            reason=None if complete else short,
        )


def _last_accuracy(run: Trained) -> float:
    return run.validation_accuracy[-1]


def _raise_if(interrupted: bool) -> None:
    if interrupted:
        raise KeyboardInterrupt


_AUGMENTATION_ARMS: Final[dict[str, dict[str, Any]]] = {
    "raw": {"pixels": "raw"},
    "normalised": {},
    "augmented": {"augmentation": "article"},
    "augmented-no-flip": {"augmentation": "article-no-flip"},
}
_AUGMENTATION_PAIRS: Final = (
    ("raw", "normalised"),
    ("normalised", "augmented"),
    ("augmented", "augmented-no-flip"),
)


def measure_augmentation(context: TrialContext) -> None:
    """augmentation: accuracy on clean and on corrupted test images over seeds, and what the input pipeline costs."""
    names = [name for name in _AUGMENTATION_ARMS if context.scale.flip_arm or name != "augmented-no-flip"]
    arms = {name: partial(_augmentation_request, context.scale, name) for name in names}
    found, interrupted = train_arms(context, "augmentation", arms, context.seeds, timed=False)
    for arm in found.values():
        request = _augmentation_request(context.scale, arm.name, context.first_seed)
        _store_accuracies(context, "augmentation", arm, request, ("test_accuracy", "corrupted_test_accuracy"))
    for baseline, candidate in _AUGMENTATION_PAIRS:
        if candidate in found:
            pair = found[baseline], found[candidate]
            for kind in ("test", "corrupted_test"):
                value, metric = partial(_images_per_error, context, f"{kind}_accuracy"), f"images_per_{kind}_error"
                evidence = f"{kind}_accuracy_ratio"
                paired_by_seed(context, "augmentation", metric, pair, value, evidence, of_finished=True)
    _raise_if(interrupted)
    _store_pipeline(context)


def _figure(name: str, run: Trained) -> float | None:
    value: float | None = getattr(run, name)
    return value


def _images_per_error(context: TrialContext, name: str, run: Trained) -> float | None:
    accuracy = _figure(name, run)
    return None if accuracy is None else images_per_error(accuracy, context.scale.test)


def _augmentation_request(scale: Sizes, name: str, seed: int) -> Train:
    return Train(
        key=f"augmentation/{name}/{seed}",
        data=scale.data(seed, scale.augmented_train, upright=True),
        seed=seed,
        batch_size=32,
        learning_rate=2e-3,
        epochs=scale.augmentation_epochs,
        corrupted_test=True,
        **_AUGMENTATION_ARMS[name],
    )


def _store_accuracies(context: TrialContext, topic: str, arm: ArmRuns, request: Train, metrics: Sequence[str]) -> None:
    if not arm.runs:
        _observe_failure(context, topic, "test_accuracy_ratio", arm)
        return
    first = arm.trained[0]
    arm.case = case_of(context, first.dataset, first.device_kind, request, variant=arm.name)
    labels = {"dataset": first.dataset, "seeds": seeds_text(arm), "arm": arm.name, "epochs": str(request.epochs)}
    for metric in metrics:
        values = [value for run in arm.trained if (value := _figure(metric, run)) is not None]
        arm.observations[f"{metric}_ratio"] = observe(
            context, topic, f"{metric}_ratio", values, case=arm.case, labels=labels
        )


_ARCHITECTURE_ARMS: Final = {"whole": False, "half-layers": True}


def measure_architecture(context: TrialContext) -> None:
    """architecture: errors on test images of the digit classifier, whole and with half of its layers."""
    arms = {name: partial(_architecture_request, context.scale, name) for name in _ARCHITECTURE_ARMS}
    found, interrupted = train_arms(context, "architecture", arms, context.seeds, timed=False)
    for arm in found.values():
        request = _architecture_request(context.scale, arm.name, context.first_seed)
        _store_accuracies(context, "architecture", arm, request, ("test_accuracy",))
    paired_by_seed(
        context,
        "architecture",
        "images_per_test_error",
        (found["whole"], found["half-layers"]),
        partial(_images_per_error, context, "test_accuracy"),
        "test_accuracy_ratio",
        of_finished=True,
    )
    _raise_if(interrupted)


def _architecture_request(scale: Sizes, name: str, seed: int) -> Train:
    return Train(
        key=f"architecture/{name}/{seed}",
        data=scale.data(seed, scale.augmented_train),
        seed=seed,
        learning_rate=2e-3,
        epochs=scale.augmentation_epochs,
        halved=_ARCHITECTURE_ARMS[name],
    )


def _store_pipeline(context: TrialContext) -> None:
    """Store of each pipeline alone and feeding training: examples per second, speed kept, share of time waiting."""
    scale = context.scale
    context.progress("augmentation: input pipelines", 0, 1)
    reply = context.answer(
        Pipeline(
            key="augmentation/pipeline",
            data=scale.data(context.first_seed, scale.augmented_train),
            repeats=scale.repeats,
        )
    )
    if not isinstance(reply, Pipelined):
        reason = why_no_result(reply)
        observe(context, "augmentation", "pipeline_examples_per_s", (), replicate="repeat", reason=reason)
        return
    case = Case(workload="digits-cnn", batch_size=32, placement=reply.device_kind, engine=context.engine)
    plain = reply.training_per_s.get("no augmentation", ())
    for name, alone in reply.alone_per_s.items():
        labels = {"pipeline": name, "dataset": reply.dataset}
        fed = reply.training_per_s[name]
        share = [a / b for a, b in zip(fed, plain, strict=True)] if plain else []
        rows = {
            "pipeline_examples_per_s": alone,
            "training_examples_per_s": fed,
            "training_speed_kept_ratio": share,
            "input_wait_ratio": reply.input_wait_ratio[name],
        }
        for metric, values in rows.items():
            observe(context, "augmentation", metric, values, case=case, labels=labels, replicate="repeat")
    for name, reason in reply.missing.items():
        observe(
            context,
            "augmentation",
            "pipeline_examples_per_s",
            (),
            labels={"pipeline": name},
            replicate="repeat",
            reason=reason,
        )


def measure_split_model(context: TrialContext) -> None:
    """model-parallel: a model whose layers lie on two devices trains like the same model on one. A functional check."""
    context.progress("model-parallel: layers on two devices", 0, 1)
    reply = context.answer(Split(key="model-parallel/check"))
    if not isinstance(reply, SplitChecked):
        reason = why_no_result(reply)
        observe(context, "model-parallel", "loss_difference_ratio", (), replicate="step", reason=reason)
        return
    placement = "model-parallel-logical" if reply.logical else "model-parallel"
    labels = {"devices": str(len(reply.bytes_per_device)), "check": "functional" if reply.logical else "device"}
    case = Case(
        workload="mlp-split",
        batch_size=64,
        placement=placement,
        engine=context.engine,
        device_count=len(reply.bytes_per_device),
    )
    losses = zip(reply.losses_one, reply.losses_split, strict=True)
    difference = [abs(a - b) / abs(a) for a, b in losses]
    share = [size / reply.bytes_one for size in reply.bytes_per_device]
    observe(context, "model-parallel", "loss_difference_ratio", difference, case=case, labels=labels, replicate="step")
    observe(context, "model-parallel", "parameter_share_ratio", share, case=case, labels=labels, replicate="device")


TRIALS: Final[dict[str, Callable[[TrialContext], None]]] = {
    "equal-quality": measure_quality,
    "architecture": measure_architecture,
    "augmentation": measure_augmentation,
    "tuning": measure_tuning,
    "deployment": measure_deployment,
    "model-parallel": measure_split_model,
}
"""Claim id → its trial. Add a row to measure another one."""
