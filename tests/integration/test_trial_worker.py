"""The trial worker with a real engine: one process, small trainings."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from rtxbench.errors import MeasurementError
from rtxbench.records import CaseRecord, Observation
from rtxbench.results.store import load_results
from rtxbench.trials.messages import (
    DataSpec,
    Deploy,
    Deployed,
    Pipeline,
    Pipelined,
    Probe,
    Probed,
    Split,
    SplitChecked,
    Train,
    Trained,
    TrialFailed,
)
from rtxbench.trials.worker_pool import TrialWorker, WorkerPool, answer_of

pytest.importorskip("tensorflow")

DATA = DataSpec(name="generated", train=256, validation=100, test=100)


@pytest.fixture(scope="module")
def worker() -> Iterator[TrialWorker]:
    shared = TrialWorker("tensorflow")
    yield shared
    shared.close()


def train(worker: TrialWorker, **changes: object) -> Trained:
    reply = worker.result(Train(key="t", data=DATA, seed=3, epochs=2, **changes))  # type: ignore[arg-type]
    assert isinstance(reply, Trained), reply
    return reply


def test_a_seed_fixes_a_training(worker: TrialWorker) -> None:
    """The same seed gives the same losses though the compiled model is used again; another seed gives others."""
    first, again = train(worker), train(worker)
    reply = worker.result(Train(key="other", data=DATA, seed=4, epochs=2))
    assert isinstance(reply, Trained)
    assert again.validation_loss == pytest.approx(first.validation_loss, rel=1e-5)
    assert reply.validation_loss != pytest.approx(first.validation_loss, rel=1e-3)


def test_a_target_stops_the_clock(worker: TrialWorker) -> None:
    """A target that any model meets is reached in the first epoch, and training ends there when asked to."""
    run = train(worker, target_accuracies={"generated-digits-v1": 0.0}, stop_at_target=True)
    assert run.epochs_to_target == 1
    assert len(run.epoch_s) == 1
    assert run.time_to_target_s == pytest.approx(run.epoch_s[0])


def test_augmentation_changes_the_training(worker: TrialWorker) -> None:
    """The augmented run sees other images: another loss from the same seed, and accuracy on corrupted images."""
    plain, augmented = train(worker), train(worker, augmentation="article", corrupted_test=True)
    assert augmented.validation_loss != pytest.approx(plain.validation_loss, rel=1e-3)
    assert augmented.corrupted_test_accuracy is not None
    assert plain.corrupted_test_accuracy is None


def test_every_format_gives_the_same_probabilities(worker: TrialWorker) -> None:
    """No round trip through any format changes a probability by more than 1e-5, and no hostile file loads.

    Without ONNX's packages that round trip is skipped, with what to install.
    """
    reply = worker.result(
        Deploy(
            key="d", data=DATA, seed=0, latency_batches=(1,), requests=20, repeats=2, latency_precisions=("float32",)
        )
    )
    assert isinstance(reply, Deployed), reply
    for name in ("keras", "h5", "saved-model"):
        result = reply.formats[name]
        assert result.reason is None, name
        assert result.probability_difference is not None
        assert result.probability_difference <= 1e-5
        assert result.accuracy_difference == 0.0
        assert result.size_bytes is not None
        assert result.size_bytes > 100_000
    onnx = reply.formats["onnx"]
    absent = [name for name in ("onnxruntime", "onnx", "tf2onnx") if find_spec(name) is None]
    if absent:
        assert f"pip install {' '.join(absent)}" in (onnx.reason or "")
    else:
        assert onnx.probability_difference is not None
        assert onnx.probability_difference <= 1e-5
    assert reply.unsafe_files_loaded == 0
    (latency,) = reply.latencies
    assert latency.p50_s[0] > 0
    assert latency.p99_s == ()  # of so few requests the slowest one would be it


def test_pipelines_run_or_say_why_not(worker: TrialWorker) -> None:
    """Each input pipeline has positive rates, or a reason."""
    reply = worker.result(Pipeline(key="p", data=DATA, repeats=1))
    assert isinstance(reply, Pipelined), reply
    names = {"no augmentation", "Keras layers in tf.data", "ImageDataGenerator (legacy)"}
    assert set(reply.alone_per_s) | set(reply.missing) == names
    assert all(rate > 0 for rates in (*reply.alone_per_s.values(), *reply.training_per_s.values()) for rate in rates)
    assert reply.input_wait_ratio.keys() == reply.training_per_s.keys()
    assert all(0 < share < 1 for shares in reply.input_wait_ratio.values() for share in shares)


def test_a_failing_request_leaves_the_worker_alive(worker: TrialWorker) -> None:
    """An unknown precision is answered with a reason, and the next request is served."""
    reply = answer_of(worker.result, Train(key="bad", data=DATA, seed=0, precision="float4"))
    assert isinstance(reply, TrialFailed) and not reply.worker_lost
    assert "float4" in reply.message
    assert train(worker).finite


def test_real_memory_failure_is_survived() -> None:
    """A batch beyond the limit fails for want of memory, by message or by the worker's death; a small one then fits."""
    worker = TrialWorker("tensorflow")
    try:
        limit = 200 * 2**20
        try:
            huge = worker.result(Probe(key="huge", batch_size=8192, memory_limit_bytes=limit))
            assert isinstance(huge, Probed)
            assert not huge.fits
        except MeasurementError as error:
            assert "died" in error.message
        small = worker.result(Probe(key="small", batch_size=8, memory_limit_bytes=2**31))
        assert isinstance(small, Probed)
        assert small.fits
    finally:
        worker.close()


def test_a_split_model_trains_like_a_whole_one() -> None:
    """Layers on two logical devices give the losses of one device, and each device holds a part of the parameters."""
    worker = TrialWorker("tensorflow")
    try:
        reply = worker.result(Split(key="s", steps=4, width=64, batch_size=8))
    finally:
        worker.close()
    assert isinstance(reply, SplitChecked), reply
    assert reply.losses_split == pytest.approx(reply.losses_one, rel=1e-5)
    assert reply.losses_one[-1] < reply.losses_one[0]
    assert len(reply.bytes_per_device) == 2
    assert sum(reply.bytes_per_device) == reply.bytes_one


@pytest.fixture(scope="module")
def keras_says() -> dict[str, str]:
    """Questions put to Keras and TensorFlow themselves, in one process."""
    script = """
import os, random
os.environ["KERAS_BACKEND"] = "tensorflow"
import keras, numpy as np
from rtxbench.trials.tuning import early_stopping_epoch
from rtxbench.trials.training import loss_scale_overflows
draw, different = random.Random(0), 0
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
for _ in range(200):
    losses = tuple(round(draw.random(), 1) for _ in range(draw.randint(1, 15)))
    callback = keras.callbacks.EarlyStopping(monitor="val_loss", patience=3)
    callback.set_model(model)
    model.stop_training = False
    callback.on_train_begin()
    epochs = len(losses)
    for epoch, loss in enumerate(losses):
        callback.on_epoch_end(epoch, {"val_loss": loss})
        if model.stop_training:
            epochs = epoch + 1
            break
    different += early_stopping_epoch(losses) != epochs
print("different", different)
keras.config.set_dtype_policy("mixed_float16")
# Equal weights give equal probabilities, so the gradient is never zero; a random start may know the answer already.
last = keras.layers.Dense(10, activation="softmax", dtype="float32", kernel_initializer="zeros")
model = keras.Sequential([keras.Input((4,)), last])
optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(), initial_scale=3e38)
model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)
for _ in range(3):
    model.train_on_batch(np.full((8, 4), 1e3, "float32"), np.zeros(8, "int32"))
print("overflows", loss_scale_overflows(model, 3))
from rtxbench.trials.pipelines import tf_data_pipeline
class Counting:
    calls = 0
    def __call__(self, x, training):
        self.calls += 1
        return x
counting = Counting()
images = np.zeros((64, 28, 28, 1), "float32"), np.zeros(64, "int32")
batches = [list(tf_data_pipeline(*images, 32, counting)) for epoch in range(3)]
print("traced", counting.calls if all(map(len, batches)) else None)
tuned = [tf_data_pipeline(*images, 32, layers).options().autotune.enabled for layers in (None, counting)]
print("tuned", any(tuned))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    pairs = [
        line.split()
        for line in result.stdout.splitlines()
        if line.startswith(("different", "overflows", "traced", "tuned"))
    ]
    return {pair[0]: pair[1] for pair in pairs}


def test_early_stopping_agrees_with_keras(keras_says: dict[str, str]) -> None:
    """Our rule ends where Keras's own callback ends, on 200 random courses of the validation loss."""
    assert keras_says["different"] == "0"


def test_loss_scale_overflows_are_counted(keras_says: dict[str, str]) -> None:
    """Three steps with a loss scale at float32's end overflow and are skipped: three counted, none applied."""
    assert keras_says["overflows"] == "3"


def test_a_new_epoch_does_not_trace_the_augmentation_again(keras_says: dict[str, str]) -> None:
    """Three epochs' pipelines over the same layers trace them once; a second an epoch would pass for input time."""
    assert keras_says["traced"] == "1"


def test_no_epoch_waits_for_the_pipelines_tuner(keras_says: dict[str, str]) -> None:
    """It is off: an iterator's end waits until its thread has slept, up to as long as the epoch itself."""
    assert keras_says["tuned"] == "False"


def rtxbench(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", "from rtxbench.cli import main; main()", *arguments, "--results", str(folder)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_one_claim_is_run_from_the_command_line(tmp_path: Path) -> None:
    """`rtxbench run --claim model-parallel` stores the check and the skipped cases; --resume then has nothing to do."""
    arguments = ("run", "--claim", "model-parallel", "--profile", "smoke", "--resume")
    first = rtxbench(*arguments, folder=tmp_path)
    assert first.returncode == 0, first.stderr
    (run,) = load_results([tmp_path])
    assert [record.values for record in run.of_kind(Observation) if record.metric == "loss_difference_ratio"]
    assert {record.status for record in run.of_kind(CaseRecord)} == {"skipped"}
    again = rtxbench(*arguments, folder=tmp_path)
    assert again.returncode == 4
    assert "measured already" in again.stderr


def test_a_crew_trains_as_one_worker_does(worker: TrialWorker) -> None:
    """Side by side, with fewer threads each, every seed gives what it gives alone; then the processes are gone."""
    requests = [Train(key=str(seed), data=DATA, seed=seed, epochs=2) for seed in range(3)]
    before = set(psutil.Process().children())
    replies = dict(WorkerPool("tensorflow", cores=2).answers(requests))
    assert set(psutil.Process().children()) == before
    for index, request in enumerate(requests):
        alone, reply = worker.result(request), replies[index]
        assert isinstance(alone, Trained)
        assert isinstance(reply, Trained)
        assert reply.validation_loss == pytest.approx(alone.validation_loss, rel=1e-3)


def test_a_crew_left_early_leaves_no_process() -> None:
    """Ctrl-C while trainings run side by side ends their processes at once; what was finished has been given out."""
    requests = [Train(key=str(seed), data=DATA, seed=seed, epochs=1 if seed == 0 else 10_000) for seed in range(4)]
    before = set(psutil.Process().children())
    replies = WorkerPool("tensorflow", cores=2).answers(requests)
    index, reply = next(replies)
    assert index == 0
    assert isinstance(reply, Trained)
    replies.close()  # type: ignore[attr-defined]
    assert set(psutil.Process().children()) == before


def test_a_lost_race_ends_the_training(worker: TrialWorker) -> None:
    """A training whose time passes its limit ends with that epoch."""
    reply = worker.result(Train(key="race", data=DATA, seed=3, epochs=50, time_limit_s=1e-6))
    assert isinstance(reply, Trained)
    assert len(reply.epoch_s) == 1


def test_validation_is_over_all_images() -> None:
    """Loss and accuracy are `evaluate`'s own, though the set is cut into parts of which the last is smaller."""
    code = (
        "import numpy as np, keras\n"
        "from rtxbench.engines import load_engine\n"
        "from rtxbench.trials import training\n"
        "rng = np.random.default_rng(0)\n"
        "x, y = rng.random((1100, 28, 28, 1), np.float32), rng.integers(0, 10, 1100).astype(np.int32)\n"
        "y[1000:] = 3\n"  # the last part is unlike the rest
        "model = training.ModelPool(load_engine('tensorflow')).fresh('float32', 64, 0, 1e-3)\n"
        "loss, accuracy = training._validation(model, x, y)\n"
        "wanted = model.evaluate(x, y, batch_size=500, verbose=0)\n"
        "assert np.allclose([loss, accuracy], wanted, rtol=1e-4), (loss, accuracy, wanted)\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
    finished = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr[-600:]
