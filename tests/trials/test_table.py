import dataclasses
import math
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import msgspec
import pytest
from msgspec.structs import replace

from rtxbench.engines.failures import memory_complaint
from rtxbench.errors import WorkerLostError
from rtxbench.records import Observation, RatioRecord, Record
from rtxbench.trials.context import TrialContext, train_arms
from rtxbench.trials.deployment import measure_deployment
from rtxbench.trials.messages import (
    DataSpec,
    Deploy,
    Deployed,
    FormatResult,
    LatencyResult,
    Pipeline,
    Pipelined,
    Probe,
    Probed,
    Split,
    SplitChecked,
    Train,
    Trained,
    TrialFailed,
    TrialReply,
    TrialRequest,
)
from rtxbench.trials.sizes import SCALES
from rtxbench.trials.table import TRIALS, measure_augmentation, measure_quality, measure_split_model
from rtxbench.trials.tuning import early_stopping_epoch, largest_batch, measure_tuning
from rtxbench.trials.unfinished import images_per_error
from tests.judged_runs import environment

Ask = Callable[[TrialRequest], TrialReply]


def context(ask: Ask, gpus: int = 0) -> TrialContext:
    """A trial at smoke scale whose worker is ``ask`` and whose records go to its own list."""
    stored: list[Record] = []
    return TrialContext("run-1", environment(gpus), "tensorflow", SCALES["smoke"], ask, stored.append)


def trained(request: Train, **changes: object) -> Trained:
    """What a worker would answer: accuracy and time depend on the seed and, a little, on the arm."""
    faster = 0.5 if request.precision != "float32" or request.learning_rate > 5e-3 else 1.0
    fields: dict[str, object] = {
        "key": request.key,
        "device_kind": "cpu",
        "dataset": "generated-digits-v1",
        "checksum": "c",
        "epoch_s": (faster,) * request.epochs,
        "validation_accuracy": tuple(0.9 + 0.001 * request.seed for _ in range(max(8, request.epochs))),
        "validation_loss": tuple(1 / (1 + epoch) if epoch < 2 else 1.0 for epoch in range(max(4, request.epochs))),
        "target_accuracy": 0.9,
        "time_to_target_s": 2 * faster,
        "epochs_to_target": 2,
        "test_accuracy": 0.9,
        "corrupted_test_accuracy": 0.5 if request.corrupted_test else None,
        "loss_scale_overflows": None,
        "finite": True,
    }
    return Trained(**{**fields, **changes})  # type: ignore[arg-type]


def answer(request: TrialRequest) -> TrialReply:
    """A worker that does everything asked."""
    match request:
        case Train():
            return trained(request)
        case Probe():
            return probed(request, request.batch_size <= 777)
        case Pipeline():
            rates = {"no augmentation": (100.0, 110.0), "Keras layers in tf.data": (50.0, 55.0)}
            missing = {"ImageDataGenerator (legacy)": "scipy is missing"}
            return Pipelined(
                key=request.key,
                device_kind="cpu",
                dataset="d",
                alone_per_s=rates,
                training_per_s=rates,
                input_wait_ratio={"no augmentation": (0.02, 0.04), "Keras layers in tf.data": (0.49, 0.51)},
                missing=missing,
            )
        case Deploy():
            return deployed(request)
        case Split():
            return SplitChecked(
                key=request.key,
                device_kind="cpu",
                logical=True,
                losses_one=(2.0, 1.0),
                losses_split=(2.0, 1.0),
                bytes_one=100,
                bytes_per_device=(60, 40),
                step_s_one=0.1,
                step_s_split=0.1,
            )


def probed(request: Probe, fits: bool) -> Probed:
    return Probed(
        key=request.key,
        batch_size=request.batch_size,
        device_kind="cpu",
        fits=fits,
        step_s=0.1 if fits else None,
        peak_memory_bytes=1,
        reason=None if fits else "OOM",
    )


def deployed(request: Deploy) -> Deployed:
    good = FormatResult(size_bytes=10, save_s=0.1, load_s=0.1, probability_difference=0.0, accuracy_difference=0.0)
    latency = LatencyResult(batch_size=1, precision="float32", p50_s=(0.1,), p99_s=(0.2,), throughput_per_s=(10.0,))
    return Deployed(
        key=request.key,
        device_kind="cpu",
        dataset="d",
        accuracy=0.9,
        formats={"keras": good, "onnx": FormatResult(reason="ImportError: none")},
        latencies=(latency,) if request.latency_batches else (),
        unsafe_files_loaded=0,
    )


def observations(found: TrialContext, metric: str) -> list[Observation]:
    return [r for r in found.records if isinstance(r, Observation) and r.metric == metric]


def ratios(found: TrialContext) -> dict[str, RatioRecord]:
    return {r.metric: r for r in found.records if isinstance(r, RatioRecord)}


@pytest.mark.parametrize("capacity", [1, 31, 32, 100, 777, 5000])
def test_the_largest_batch_is_found_within_an_eighth(capacity: int) -> None:
    """Doubling and bisection end on a batch that fits, and one an eighth larger does not."""
    found = context(lambda request: probed(request, request.batch_size <= capacity))  # type: ignore[union-attr]
    tries, ended = largest_batch(found)
    best = max((t.batch_size for t in tries if t.fits), default=0)
    assert ended is None
    assert best <= capacity < best + max(1, best // 8) + 1
    assert len(tries) < 25


def test_a_step_on_the_processor_is_bound_in_memory_whatever_the_driver_lists() -> None:
    """Fault 5: with a GPU that TensorFlow did not see, the search had no limit and filled the host's memory."""
    limits = []

    def ask(request: TrialRequest) -> TrialReply:
        assert isinstance(request, Probe)
        limits.append(request.memory_limit_bytes)
        return probed(request, request.batch_size <= 64)

    largest_batch(context(ask, gpus=1))
    assert set(limits) == {SCALES["smoke"].memory_limit_bytes}
    assert None not in limits


def test_a_batch_that_crawls_does_not_fit() -> None:
    """Fault 17: WSL2 pages a full card's memory to the host: nothing fails, an example takes many times as long."""

    def ask(request: TrialRequest) -> TrialReply:
        assert isinstance(request, Probe)
        per_example_s = 1e-4 if request.batch_size <= 500 else 2e-3
        found = probed(request, True)
        return replace(found, device_kind="gpu", step_s=per_example_s * request.batch_size)

    tries, ended = largest_batch(context(ask, gpus=1))
    assert ended is None
    assert 438 <= max(t.batch_size for t in tries if t.fits) <= 500
    assert any("paged to the host" in (t.reason or "") for t in tries)


def test_a_worker_that_dies_of_memory_counts_as_not_fitting() -> None:
    """The search survives a killed worker, the usual form of out of memory on a CPU."""

    def ask(request: TrialRequest) -> TrialReply:
        assert isinstance(request, Probe)
        if request.batch_size > 100:
            raise WorkerLostError("the trial worker died (exit status -9).", next_step="x")
        return probed(request, True)

    tries, ended = largest_batch(context(ask))
    assert ended is None
    assert 88 <= max(t.batch_size for t in tries if t.fits) <= 100
    assert any("died" in (t.reason or "") for t in tries)


def test_another_fault_ends_the_search_with_its_reason() -> None:
    """A failure that is not a lack of memory is reported, not taken for one."""
    found = context(lambda request: TrialFailed(key=request.key, message="broken", next_step="x"))
    measure = largest_batch(found)
    assert measure == ([], "broken")


def test_a_search_that_ended_early_has_no_largest_batch() -> None:
    """What fitted until then is a lower bound: it stands in the reason, not in the value."""

    def ask(request: TrialRequest) -> TrialReply:
        if isinstance(request, Probe) and request.batch_size > 64:
            return TrialFailed(key=request.key, message="broken", next_step="x")
        return answer(request)

    found = context(ask)
    measure_tuning(found)
    (largest,) = observations(found, "largest_batch_size")
    assert largest.values == ()
    assert largest.reason == "the search ended early, 64 fitted: broken"


@pytest.mark.parametrize(
    "line",
    [
        "Operation received an exception:Status: 1, message: could not create a primitive, in mkl_conv_ops.cc:1112",
        "MemoryError: ",
        "ResourceExhaustedError: OOM when allocating tensor with shape[8192,26,26,16]",
    ],
)
def test_a_frameworks_own_words_for_no_memory_are_known(line: str) -> None:
    """The line that says so is the reason, wherever in the message it stands; other errors are none."""
    assert memory_complaint(f"AbortedError: Graph execution error:\n\n{line}\n") == line
    assert memory_complaint("AbortedError: Graph execution error:\n\nshapes differ") is None


@pytest.mark.parametrize(
    ("losses", "epochs"),
    [
        ((5.0, 4.0, 3.0, 2.0, 1.0), 5),
        ((1.0, 2.0, 2.0, 2.0, 0.1), 4),
        ((3.0, 2.0, 2.5, 2.5, 1.0, 2.0, 2.0, 2.0, 2.0), 8),
        ((1.0, None, None, None, 1.0), 4),
    ],
)
def test_early_stopping_follows_its_rule(losses: tuple[float | None, ...], epochs: int) -> None:
    """Training ends when three epochs have passed without a better validation loss."""
    assert early_stopping_epoch(losses) == epochs


def test_arms_take_turns_at_going_first() -> None:
    """A drift of the machine meets every arm: the order rotates from seed to seed."""
    asked: list[str] = []

    def ask(request: TrialRequest) -> TrialReply:
        assert isinstance(request, Train)
        asked.append(request.key)
        return trained(request)

    arms = {name: lambda seed, name=name: Train(key=name, data=SCALES["smoke"].data(0), seed=seed) for name in "ab"}
    train_arms(context(ask), "t", arms, range(4))
    assert asked == ["a", "b", "b", "a", "a", "b", "b", "a"]


def test_quality_is_paired_by_seed() -> None:
    """One ratio per metric, one value per seed, with records of both arms behind it."""
    found = context(answer)
    measure_quality(found)
    accuracy, speed = ratios(found)["images_per_test_error"], ratios(found)["speed_to_accuracy"]
    assert accuracy.replicate == "seed"
    assert accuracy.log_ratios == (0.0, 0.0)
    assert accuracy.seeds == (0, 1)
    assert speed.ratio.value == pytest.approx(2.0)
    ids = {record.record_id for record in found.records}
    assert {accuracy.baseline_record, accuracy.candidate_record, speed.baseline_record} <= ids
    skipped = {o.labels["arm"] for o in observations(found, "validation_accuracy_ratio") if o.reason}
    assert skipped == {"tf32", "mixed_float16"}


def test_a_seed_that_misses_the_target_leaves_no_time_ratio() -> None:
    """Leaving the slow seeds out would flatter the arm that has them: the figure is missing, with its reason."""

    def ask(request: TrialRequest) -> TrialReply:
        assert isinstance(request, Train)
        missed = request.seed == 1 and request.precision == "mixed_bfloat16"
        return trained(request, time_to_target_s=None) if missed else trained(request)

    found = context(ask)
    measure_quality(found)
    assert "speed_to_accuracy" not in ratios(found)
    reasons = [o.reason for o in observations(found, "time_to_accuracy_s") if o.reason]
    assert reasons == ["1 of 2 seeds did not reach the target accuracy"]


def test_a_loss_that_is_not_finite_gives_the_arm_up() -> None:
    """A diverged arm is a reason, not a ratio; the other arm's figures stay."""
    found = context(lambda request: trained(request, finite=request.precision == "float32"))  # type: ignore[arg-type,union-attr]
    measure_quality(found)
    assert ratios(found) == {}
    by_arm = {o.labels["arm"]: o for o in observations(found, "validation_accuracy_ratio")}
    assert "not finite" in (by_arm["mixed_bfloat16"].reason or "")
    assert len(by_arm["float32"].values) == 2


def test_ctrl_c_keeps_the_finished_seeds() -> None:
    """Interrupted in the second seed, the first seed's figures are stored before the interrupt goes on."""

    def ask(request: TrialRequest) -> TrialReply:
        assert isinstance(request, Train)
        if request.seed == 1:
            signal.raise_signal(signal.SIGINT)
        return trained(request)

    found = context(ask)
    with pytest.raises(KeyboardInterrupt):
        measure_quality(found)
    assert [len(o.values) for o in observations(found, "test_accuracy_ratio")] == [1, 1]


def test_augmentation_compares_each_step_with_the_one_before() -> None:
    """Raw, normalised and augmented are compared in turn, on clean and on shifted images, and pipelines are timed."""
    found = context(answer)
    measure_augmentation(found)
    pairs = [(r.baseline.variant, r.candidate.variant) for r in found.records if isinstance(r, RatioRecord)]
    assert pairs == [("raw", "normalised")] * 2 + [("normalised", "augmented")] * 2
    kept = {o.labels["pipeline"]: o.values for o in observations(found, "training_speed_kept_ratio")}
    assert kept["Keras layers in tf.data"] == (0.5, 0.5)
    (wait,) = [o for o in observations(found, "input_wait_ratio") if o.labels["pipeline"] == "Keras layers in tf.data"]
    (speed,) = [o for o in observations(found, "training_examples_per_s") if o.labels == wait.labels]
    assert (wait.values, wait.case, wait.replicate) == ((0.49, 0.51), speed.case, "repeat")
    missing = [o for o in observations(found, "pipeline_examples_per_s") if o.reason]
    assert [o.reason for o in missing] == ["scipy is missing"]


def test_tuning_confirms_the_pilots_winner_on_fresh_seeds() -> None:
    """The pilot's seed is not among those that judge its winner."""
    asked: list[Train] = []

    def ask(request: TrialRequest) -> TrialReply:
        if isinstance(request, Train):
            asked.append(request)
        return answer(request)

    found = context(ask)
    measure_tuning(found)
    pilots = {request.seed for request in asked if "pilot" in request.key}
    judged = {request.seed for request in asked if "tuned" in request.key}
    assert judged
    assert not pilots & judged
    speed = ratios(found)["speed_to_accuracy"]
    assert (speed.baseline.variant, speed.candidate.variant) == ("defaults", "tuned")
    (largest,) = observations(found, "largest_batch_size")
    assert 691 <= largest.values[0] <= 777


def test_a_setting_slower_than_the_best_so_far_is_stopped() -> None:
    """The pilot is a race: later settings get the best time as their limit, and a lost race says so."""
    limits: list[float | None] = []

    def ask(request: TrialRequest) -> TrialReply:
        if isinstance(request, Probe):
            return probed(request, request.batch_size <= 64)
        assert isinstance(request, Train)
        if "pilot" not in request.key:
            return trained(request)
        limits.append(request.time_limit_s)
        slow = request.learning_rate < 5e-3
        return trained(request, time_to_target_s=None if slow else 1.5)

    tuning = context(ask)
    measure_tuning(tuning)
    assert limits == [*4 * [None], 1.5]  # all seeds of the fast rate, then the slow one's first seed loses
    (lost,) = [record.reason for record in observations(tuning, "time_to_accuracy_s") if record.reason]
    assert lost == "target accuracy not reached within the 1.50 s of the best setting so far"


def test_trainings_whose_times_nobody_reads_run_side_by_side() -> None:
    """Replies in any order land on their arm and seed; timed trainings stay one after the other."""

    def ask(request: TrialRequest) -> TrialReply:
        assert isinstance(request, Train)
        return trained(request)

    def backwards(requests: Sequence[TrialRequest]) -> Iterator[tuple[int, TrialReply]]:
        yield from ((index, ask(requests[index])) for index in reversed(range(len(requests))))

    side_by_side = dataclasses.replace(context(ask), ask_side_by_side=backwards)
    arms = {name: partial(_training, name) for name in ("a", "b")}
    found, _ = train_arms(side_by_side, "test", arms, range(3), timed=False)
    assert {name: [run.key for run in arm.trained] for name, arm in found.items()} == {
        "a": ["a/0", "a/1", "a/2"],
        "b": ["b/0", "b/1", "b/2"],
    }
    refused = dataclasses.replace(context(ask), ask_side_by_side=lambda requests: pytest.fail("timed"))
    found, _ = train_arms(refused, "test", arms, range(2))
    assert [run.key for run in found["b"].trained] == ["b/0", "b/1"]


def test_what_died_beside_others_is_trained_alone() -> None:
    """A worker killed for memory in company is no failure of its arm if the same training comes through alone."""
    alone: list[str] = []

    def ask(request: TrialRequest) -> TrialReply:
        assert isinstance(request, Train)
        alone.append(request.key)
        return trained(request)

    def crowded(requests: Sequence[TrialRequest]) -> Iterator[tuple[int, TrialReply]]:
        for index, request in enumerate(requests):
            assert isinstance(request, Train)
            died = TrialFailed(key=request.key, worker_lost=True, message="killed", next_step="")
            yield index, died if request.key == "a/1" else trained(request)

    side_by_side = dataclasses.replace(context(ask), ask_side_by_side=crowded)
    found, _ = train_arms(side_by_side, "test", {"a": partial(_training, "a")}, range(3), timed=False)
    assert (alone, sorted(found["a"].runs), found["a"].failure) == (["a/1"], [0, 1, 2], None)


def test_survivors_of_a_failed_arm_are_not_its_figures() -> None:
    """One seed that fails gives the arm up, with its reason, though the seeds beside it came through."""

    def replies(requests: Sequence[TrialRequest]) -> Iterator[tuple[int, TrialReply]]:
        for index, request in enumerate(requests):
            assert isinstance(request, Train)
            yield index, trained(request, finite=request.key != "a/1")

    side_by_side = dataclasses.replace(context(lambda request: pytest.fail("alone")), ask_side_by_side=replies)
    arms = {name: partial(_training, name) for name in ("a", "b")}
    found, _ = train_arms(side_by_side, "test", arms, range(4), timed=False)
    assert (found["a"].runs, found["a"].failure) == ({}, "the loss was not finite from seed 1")
    assert sorted(found["b"].runs) == [0, 1, 2, 3]


@pytest.mark.parametrize("by", ["seed", "key"])
def test_other_images_give_the_arm_up(by: str) -> None:
    """A seed on another set (a download that came back), or an arm on other images than its pair, compares nothing."""

    def ask(request: TrialRequest) -> TrialReply:
        assert isinstance(request, Train)
        by_seed = {"dataset": f"set {request.seed}"}
        return trained(request, **by_seed if by == "seed" else {"checksum": request.key[0]})

    arms = {name: partial(_training, name) for name in ("a", "b")}
    found, _ = train_arms(context(ask), "test", arms, range(3))
    assert {"seed": "another set", "key": "other images"}[by] in str(found["b"].failure)
    assert found["b"].runs == {}


def _training(name: str, seed: int) -> Train:
    return Train(key=f"{name}/{seed}", data=DataSpec(), seed=seed)


def test_early_stopping_is_a_prefix_of_the_same_training() -> None:
    """Both arms come from one training per seed: stopping after epoch 5 of 5 or earlier, never a second run."""
    asked: list[str] = []

    def ask(request: TrialRequest) -> TrialReply:
        asked.append(request.key)
        return answer(request)

    found = context(ask)
    measure_tuning(found)
    assert sum("stopping" in key for key in asked) == SCALES["smoke"].seeds
    speed = ratios(found)["training_speed_of_5_epochs"]
    assert math.isclose(speed.ratio.value, 1.0)  # the best loss is the second of five; patience ends with the fifth


def test_early_stopping_is_judged_at_the_articles_epochs_and_shown_at_others() -> None:
    """A loss that stops falling after its sixth epoch: nothing is saved of 10 epochs but one, and half of 18."""

    def ask(request: TrialRequest) -> TrialReply:
        if not isinstance(request, Train):
            return answer(request)
        losses = tuple(1 / (1 + min(epoch, 5)) for epoch in range(18))
        return trained(request, validation_loss=losses, validation_accuracy=(0.9,) * 18)

    found = context(ask)
    found.scale = dataclasses.replace(found.scale, stopping_budgets=(10, 18))
    measure_tuning(found)
    assert ratios(found)["training_speed_of_10_epochs"].ratio.value == pytest.approx(10 / 9)
    curve = {o.labels["budget_epochs"]: o.values for o in observations(found, "training_speed_ratio")}
    assert curve == {"10": pytest.approx((10 / 9, 10 / 9)), "18": pytest.approx((2.0, 2.0))}


def slow_unless_default(request: TrialRequest) -> TrialReply:
    if not isinstance(request, Train):
        return answer(request)
    return trained(request, time_to_target_s=1.0 if request.learning_rate == 1e-3 else 3.0)


def test_where_the_defaults_win_the_pilot_tuning_is_worth_nothing() -> None:
    """The ratio is 1, not missing: a claim that tuning pays can be refuted."""
    found = context(slow_unless_default)
    measure_tuning(found)
    speed = ratios(found)["speed_to_accuracy"]
    assert speed.log_ratios == (0.0, 0.0)
    (tuned,) = [o for o in observations(found, "time_to_accuracy_s") if o.labels["arm"] == "tuned"]
    assert "defaults were the fastest" in tuned.labels["note"]


def test_a_missed_target_counts_against_the_arm() -> None:
    """A tuned seed that never gets there counts as twice the time it was given, and the record says so."""

    def ask(request: TrialRequest) -> TrialReply:
        if not isinstance(request, Train):
            return answer(request)
        tuned, pilot = request.learning_rate > 5e-3, "pilot" in request.key
        missed = tuned and not pilot and request.seed == 1
        return trained(request, time_to_target_s=None if missed else 1.0 if tuned else 2.0)

    found = context(ask)
    measure_tuning(found)
    (tuned,) = [o for o in observations(found, "time_to_accuracy_s") if o.labels["arm"] == "tuned"]
    spent = 0.5 * 2 * SCALES["smoke"].quality_epochs
    assert tuned.values == pytest.approx((1.0, 2 * spent))
    assert "1 of 2 seeds missed the target" in tuned.labels["missed"]
    assert ratios(found)["speed_to_accuracy"].log_ratios == pytest.approx((math.log(2.0), math.log(2.0 / (2 * spent))))


def test_every_seed_draws_its_own_images_in_a_launch_of_its_own() -> None:
    """Seeds count from the run's first; data and weights share one, and a timed seed gets a fresh worker."""
    asked: list[Train] = []
    fresh: list[int] = []

    def ask(request: TrialRequest) -> TrialReply:
        assert isinstance(request, Train)
        asked.append(request)
        return trained(request)

    found = dataclasses.replace(context(ask), first_seed=500, fresh_worker=lambda: fresh.append(len(asked)))
    measure_quality(found)
    assert {request.seed for request in asked} == {500, 501}
    assert all(request.data.seed == request.seed for request in asked)
    assert fresh == [2]
    assert ratios(found)["images_per_test_error"].seeds == (500, 501)


@pytest.mark.parametrize(("accuracy", "expected"), [(1.0, 402.0), (0.99, 201 / 2.5), (0.5, 201 / 100.5)])
def test_images_per_error_is_a_number_even_without_an_error(accuracy: float, expected: float) -> None:
    """Half an error is added; twice as few errors are about twice as many images to each."""
    assert images_per_error(accuracy, 200) == pytest.approx(expected, rel=0.01)


def test_deployment_stores_each_format_and_its_reason() -> None:
    """A format that cannot be written here has its reason; the others have one value per seed."""
    found = context(answer)
    measure_deployment(found)
    by_format = {o.labels["format"]: o for o in observations(found, "probability_difference")}
    assert by_format["keras"].values == (0.0, 0.0)
    assert by_format["onnx"].reason == "ImportError: none"
    latency = observations(found, "latency_p99_s")[0]
    assert (latency.values, latency.replicate) == ((0.2, 0.2), "launch")


def test_few_requests_give_no_99th_percentile() -> None:
    """A launch without one stores the reason instead of its slowest request."""

    def few(request: TrialRequest) -> TrialReply:
        reply = answer(request)
        if not isinstance(reply, Deployed):
            return reply
        latencies = tuple(msgspec.structs.replace(one, p99_s=()) for one in reply.latencies)
        return msgspec.structs.replace(reply, latencies=latencies)

    found = context(few)
    measure_deployment(found)
    tail = observations(found, "latency_p99_s")[0]
    assert tail.values == ()
    assert "too few for a 99th percentile" in (tail.reason or "")


def test_logical_devices_are_named_so() -> None:
    """The split-model check on one chip carries a placement that no claim accepts as evidence."""
    found = context(answer)
    measure_split_model(found)
    (difference,) = observations(found, "loss_difference_ratio")
    assert difference.case is not None
    assert difference.case.placement == "model-parallel-logical"
    assert difference.values == (0.0, 0.0)


@pytest.mark.parametrize("topic", sorted(TRIALS))
def test_a_worker_that_always_fails_leaves_reasons_and_no_figures(topic: str) -> None:
    """Nothing is lost and nothing is made up when every request fails."""
    found = context(lambda request: TrialFailed(key=request.key, message="no device", next_step="x"))
    TRIALS[topic](found)
    assert found.records
    assert all(isinstance(record, Observation) and record.reason and not record.values for record in found.records)


def test_a_training_cut_short_gives_no_verdict_on_quality() -> None:
    """Accuracy still rising by more than a point when training ends is flagged; the record says where it would go."""

    def ask(request: TrialRequest) -> TrialReply:
        if isinstance(request, Train) and request.augmentation == "article":
            rising = tuple(0.1 * (epoch + 1) for epoch in range(8))
            return trained(request, validation_accuracy=rising)
        return answer(request)

    found = context(ask)
    measure_augmentation(found)
    flagged = {
        (r.baseline.variant, r.candidate.variant): [(flag.code, flag.severity) for flag in r.flags]
        for r in found.records
        if isinstance(r, RatioRecord)
    }
    assert flagged[("normalised", "augmented")] == [("not-converged", "warn")]
    assert flagged[("raw", "normalised")] == []
    ratios = [r for r in found.records if isinstance(r, RatioRecord)]
    moves = {(r.baseline.variant, r.candidate.variant): r.unfinished_log_ratio or 0 for r in ratios}
    assert moves[("normalised", "augmented")] > 0
    assert moves[("raw", "normalised")] == 0


def test_too_few_epochs_show_no_convergence() -> None:
    """In seven epochs a quarter is one: its gain is chance, and flat accuracy proves nothing."""
    found = context(lambda request: _of_seven_epochs(answer(request)))
    measure_augmentation(found)
    flags = [flag for record in found.records if isinstance(record, RatioRecord) for flag in record.flags]
    assert {flag.code for flag in flags} == {"not-converged"}
    assert "7 epochs are too few" in flags[0].detail


def _of_seven_epochs(reply: TrialReply) -> TrialReply:
    if not isinstance(reply, Trained):
        return reply
    return msgspec.structs.replace(reply, validation_accuracy=(0.9,) * 7)
