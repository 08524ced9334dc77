"""The recorder as a real process on this machine."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from rtxbench.errors import MeasurementError, UsageError
from rtxbench.hardware.flags import window_flags
from rtxbench.hardware.recorder import Recorder
from rtxbench.hardware.trace import load_trace, sampling_jitter_s, summarize


def work_for(seconds):
    """Keep this process busy and return the window in which it was."""
    start = time.monotonic_ns()
    while time.monotonic_ns() - start < seconds * 1e9:
        pass
    return (start, time.monotonic_ns())


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Three seconds of work by this process, recorded, and the recorder's CPU seconds as the system counts them."""
    path = tmp_path_factory.mktemp("recording") / "run.trace.jsonl"
    with Recorder(path) as recorder:
        process = psutil.Process(recorder.pid)
        before = sum(process.cpu_times()[:2])
        assert recorder.mark("before")
        window = work_for(3)
        assert recorder.mark("after")
        used_s = sum(process.cpu_times()[:2]) - before
    return load_trace(path), window, used_s


def test_the_work_of_the_measuring_process_is_seen(recording):
    """The watched process's CPU time and memory are in the summary of its window."""
    trace, window, _used = recording
    host = summarize(trace, [window]).devices["host"]
    assert host["watched_cpu_cores"].maximum > 0.2
    assert host["rss_bytes"].mean > 1e6
    assert host["cpu_utilization_ratio"].n >= 15
    assert not {"no-work", "not-recorded"} & {flag.code for flag in window_flags(trace, [window])}


def test_the_trace_is_complete(recording):
    """Header, marks in order, an end line, and a summary of its own jitter."""
    trace, _window, _used = recording
    assert [mark.label for mark in trace.marks] == ["start", "before", "after", "end"]
    assert trace.end.reason == "stopped"
    assert trace.end.samples >= 20
    assert sampling_jitter_s(trace).n >= 15


def test_the_recorder_accounts_for_its_own_cpu_time(recording):
    """The end line's figure is not below what the operating system saw between the marks."""
    trace, _window, used_s = recording
    assert trace.end.cpu_s >= used_s - 0.02


def test_a_window_without_work_is_rejected(tmp_path):
    """A recorded case whose processes did nothing is invalid: the work ran elsewhere."""
    path = tmp_path / "t.trace.jsonl"
    with Recorder(path):
        start = time.monotonic_ns()
        time.sleep(1.5)
        window = (start, time.monotonic_ns())
    assert "no-work" in {flag.code for flag in window_flags(load_trace(path), [window])}


def gone(pid, within_s=10.0):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_it_ends_when_its_parent_is_killed(tmp_path):
    """A parent killed without a chance to clean up leaves no recorder behind, and a complete trace."""
    path = tmp_path / "t.trace.jsonl"
    code = (
        "import pathlib, time\nfrom rtxbench.hardware.recorder import Recorder\n"
        f"r = Recorder(pathlib.Path({str(path)!r})).__enter__()\nprint(r.pid, flush=True)\ntime.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    recorder_pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(recorder_pid)
    assert load_trace(path).end.reason == "parent ended"


def test_a_killed_recorder_is_noticed_and_its_trace_read(tmp_path):
    """The measurement goes on without its recorder; what was on disk is kept."""
    path = tmp_path / "t.trace.jsonl"
    with Recorder(path) as recorder:
        recorder.mark("one")
        os.kill(recorder.pid, signal.SIGKILL)
        assert gone(recorder.pid)
        assert not recorder.mark("two")
        deadline = time.monotonic() + 10
        while recorder.alive and time.monotonic() < deadline:  # its pipes close a moment before it can be reaped
            time.sleep(0.01)
        assert not recorder.alive
    trace = load_trace(path)
    assert trace.end is None
    assert [mark.label for mark in trace.marks] == ["start", "one"]


def test_an_existing_trace_is_not_overwritten(tmp_path):
    """A second recording into the same file is an error that names the cause."""
    path = tmp_path / "t.trace.jsonl"
    path.write_text("precious")
    with pytest.raises(MeasurementError, match="File exists"), Recorder(path):
        pass
    assert path.read_text() == "precious"


def test_a_missing_folder_is_an_error(tmp_path):
    """The recorder's own failure to write reaches the parent as one message."""
    with pytest.raises(MeasurementError, match="No such file"), Recorder(tmp_path / "no" / "t.trace.jsonl"):
        pass


def test_a_senseless_interval_is_refused(tmp_path):
    """Zero, negative and absurd intervals are usage errors."""
    for interval_s in (0, -1, 1e9):
        with pytest.raises(UsageError):
            Recorder(tmp_path / "t", interval_s)


def test_the_recorder_imports_little():
    """Only the standard library, pynvml and psutil: no numpy, msgspec or framework in the recorder."""
    code = (
        "import sys, rtxbench.hardware.recorder, rtxbench.hardware.sampling\n"
        "print(sorted({'numpy', 'msgspec', 'pandas', 'keras', 'tensorflow', 'rich'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert output.strip() == "[]"
