"""A program's profile: what is read of it, what is said of it, and why there is none."""

import json
import sys
from pathlib import Path

import msgspec
import pytest

from rtxbench.errors import RecordError
from rtxbench.tracing.command import record_command, report_text
from rtxbench.tracing.compare import compare_traces, comparison_text
from rtxbench.tracing.in_program import LOG, TORCH_TIMELINE
from rtxbench.tracing.profile import (
    ProgramProfile,
    computes,
    load_profile,
    profile_diagnosis,
    profile_lines,
    profile_of,
    profile_path,
    profiled,
    save_profile,
)
from tests.tracing.recordings import recorded
from tests.tracing.test_timelines import chrome

BUSY = ProgramProfile(
    framework="torch", version="2.13", steps=40, operator_ratio=0.9, input_wait_ratio=0.02, rest_ratio=0.08,
    step_s=0.05, profiled_step_s=0.06, spent_s=0.4, loader="_SingleProcessDataLoaderIter",
)  # fmt: skip


def changed(profile: ProgramProfile = BUSY, **values: object) -> ProgramProfile:
    return msgspec.structs.replace(profile, **values)


def said(folder: Path, *lines: dict[str, object]) -> ProgramProfile:
    (folder / LOG).write_text("".join(json.dumps({"pid": 1, **line}) + "\n" for line in lines) + '{"what": "half')
    return profile_of(folder)


PYTHON: dict[str, object] = {"what": "python"}
TORCH: dict[str, object] = {"what": "framework", "framework": "torch", "version": "2.13"}
TAKEN: dict[str, object] = {
    "what": "profiled", "steps": 1, "step_s": 0.9, "profiled_step_s": 1.0, "spent_s": 0.1,
}  # fmt: skip


def test_shares_and_cost_are_read(tmp_path: Path) -> None:
    """What lies in the timeline becomes ratios; TensorFlow, which was imported too, is not named."""
    events = [
        chrome("user_annotation", "ProfilerStep#3", 0.0, 1e6),
        chrome("user_annotation", "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__", 0.0, 6e5),
        chrome("cpu_op", "aten::linear", 6e5, 3e5),
    ]
    (tmp_path / TORCH_TIMELINE).write_text(json.dumps({"traceEvents": events}))
    other: dict[str, object] = {"what": "framework", "framework": "tensorflow", "version": "2.21"}
    found = said(tmp_path, PYTHON, other, TORCH, TAKEN)
    assert (found.framework, found.version, found.steps, found.device) == ("torch", "2.13", 1, "cpu")
    assert found.input_wait_ratio == pytest.approx(0.6)
    assert found.operator_ratio == pytest.approx(0.3)
    assert found.rest_ratio == pytest.approx(0.1)
    assert found.device_ratio is None
    assert found.reason is None


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((), "no Python started"),
        ((PYTHON,), "neither PyTorch nor TensorFlow"),
        ((PYTHON, TORCH), "was ended before"),
        ((PYTHON, TORCH, {"what": "steps", "steps": 0}), "no training step"),
        ((PYTHON, TORCH, {"what": "steps", "steps": 7}), "it trained 7 steps"),
        ((PYTHON, TORCH, {"what": "failed", "reason": "CUPTI"}), "trace it without --profile"),
        ((PYTHON, TORCH, TAKEN), "no timeline"),
    ],
)
def test_why_there_is_no_profile_is_a_sentence(lines: tuple[dict[str, object], ...], why: str, tmp_path: Path) -> None:
    """Another language, no framework, no step, too few, a profiler that failed or left nothing."""
    found = said(tmp_path, *lines)
    assert why in str(found.reason)
    assert why in profile_lines(found)[-1]
    assert profile_diagnosis(found) is None


def test_what_holds_a_program_back_is_named_with_its_cure() -> None:
    """Input by the loader that it has, Python on a CPU, launches on a GPU; who computes has no such brake."""
    waits = profile_diagnosis(changed(input_wait_ratio=0.62, operator_ratio=0.3))
    assert waits is not None
    assert waits.text.startswith("waiting for input data: 62 % of the time of 40 profiled steps")
    assert "num_workers" in waits.next_step
    workers = profile_diagnosis(changed(input_wait_ratio=0.62, loader="_MultiProcessingDataLoaderIter"))
    assert workers is not None
    assert "more of them" in workers.next_step
    python = profile_diagnosis(changed(rest_ratio=0.5, operator_ratio=0.48))
    assert python is not None
    assert python.code == "python-bound"
    launches = profile_diagnosis(changed(device="gpu", device_ratio=0.5, operator_ratio=0.4, input_wait_ratio=None))
    assert launches is not None
    assert launches.code == "launch-bound"
    assert profile_diagnosis(BUSY) is None
    assert profile_diagnosis(changed(device="gpu", device_ratio=0.9, operator_ratio=0.05, rest_ratio=0.03)) is None
    assert profile_diagnosis(None) is None
    assert computes(BUSY) == "Its steps compute: 90 % of their time passed in operators."
    assert computes(changed(input_wait_ratio=0.62, operator_ratio=0.3)) is None
    assert computes(None) is None


def test_the_shares_and_what_the_profiler_cost_are_lines() -> None:
    """What is not known is said, and never zero."""
    text = "\n".join(profile_lines(BUSY))
    assert "profile of 40 steps, by the profiler of PyTorch 2.13" in text
    assert "90 % of the time" in text
    assert "60.0 ms under the profiler, 50.0 ms before it; starting and writing took 400 ms" in text
    assert "not known: the program uses no DataLoader" in "\n".join(profile_lines(changed(input_wait_ratio=None)))
    assert "GPU idle" in "\n".join(profile_lines(changed(device="gpu", device_ratio=0.5)))
    assert profile_lines(None) == []


def test_a_profile_lies_beside_its_trace(tmp_path: Path) -> None:
    """And is read strictly: files may come from strangers."""
    trace = tmp_path / "run.trace.jsonl"
    assert load_profile(trace) is None
    save_profile(BUSY, trace)
    assert profile_path(trace).name == "run.profile.json"
    assert load_profile(trace) == BUSY
    for content in ('{"framework": 3}', '{"loader": ' + "[" * 30_000, '{"device_ratio": 1e400}', "\x00"):
        profile_path(trace).write_text(content)
        with pytest.raises(RecordError, match="no profile"):
            load_profile(trace)


def test_two_profiles_are_compared(tmp_path: Path) -> None:
    """What changed in the shares, and what held each back."""
    marks = [(1.0, "command started"), (5.0, "command ended")]
    before, after = tmp_path / "a.trace.jsonl", tmp_path / "b.trace.jsonl"
    for path, profile in ((before, changed(input_wait_ratio=0.6, operator_ratio=0.32)), (after, BUSY)):
        recorded(path, [4.0] * 25, marks)
        save_profile(profile, path)
    text = comparison_text(compare_traces(before, after))
    assert "Waiting for input fell from 60 % to 2 % of the profiled steps." in text
    assert "Time in operators rose from 32 % to 90 % of the profiled steps." in text
    assert "No sensor's mean differs by more than a tenth." in text
    assert "Likely held back, before: waiting for input data" in text


def test_nothing_is_changed_where_no_profile_was_asked_for() -> None:
    """The program's environment stays as it is."""
    with profiled(asked=False) as (environment, folder):
        assert (environment, folder) == ({}, None)


def test_a_command_that_is_no_python_is_traced_with_a_reason(tmp_path: Path) -> None:
    """Its exit code passes, and the file beside the trace says why it holds no shares."""
    trace = tmp_path / "a.trace.jsonl"
    report = record_command(["sh", "-c", "sleep 0.2; exit 3"], trace, profile=True)
    assert report.exit_code == 3
    assert "no profile: no Python started" in report_text(report)
    kept = load_profile(trace)
    assert kept is not None
    assert kept.reason == report.profile.reason if report.profile else False


SLEEPY = """
import sys, time
import tensorflow as tf
def load(_):
    time.sleep(0.05)
    return 1.0
data = tf.data.Dataset.range(10**6).map(lambda i: tf.numpy_function(load, [i], tf.float64))
weight = tf.Variable(1.0, dtype=tf.float64)
@tf.function
def step(x):
    weight.assign_sub(x)
for x in data.take(90):
    step(x)
"""


@pytest.mark.slow
def test_a_sleeping_input_pipeline_of_tensorflow_is_found(tmp_path: Path) -> None:
    """By the framework's own profiler, in a program that knows nothing of it."""
    pytest.importorskip("tensorflow")
    (tmp_path / "train.py").write_text(SLEEPY)
    assert profile_in(tmp_path).loader == "tf.data"


def profile_in(folder: Path) -> ProgramProfile:
    """The profile of the folder's program; how much of its time is input depends on who else uses the machine."""
    command = [sys.executable, str(folder / "train.py")]
    found = record_command(command, folder / "a.trace.jsonl", profile=True).profile
    assert found is not None
    assert found.reason is None
    assert found.steps >= 2
    assert found.input_wait_ratio is not None
    assert found.input_wait_ratio > 0
    assert found.input_wait_ratio + (found.operator_ratio or 0) + (found.rest_ratio or 0) == pytest.approx(1)
    return found


SLEEPY_TORCH = """
import time, torch
class Slow(torch.utils.data.Dataset):
    def __len__(self): return 90
    def __getitem__(self, number):
        time.sleep(0.05)
        return torch.ones(4)
layer = torch.nn.Linear(4, 1)
for x in torch.utils.data.DataLoader(Slow()):
    layer(x).sum().backward()
"""


@pytest.mark.slow
def test_a_sleeping_data_loader_of_pytorch_is_found(tmp_path: Path) -> None:
    """With the loader that it has: one without workers."""
    pytest.importorskip("torch")
    (tmp_path / "train.py").write_text(SLEEPY_TORCH)
    assert profile_in(tmp_path).loader == "_SingleProcessDataLoaderIter"
