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
from tests.waiting import gone, wait_until


def work(seconds, path, samples):
    """Keep this process busy so long, and until that many samples are on disk; returns the window of the work."""
    start = time.monotonic_ns()
    while time.monotonic_ns() - start < seconds * 1e9 or path.read_text().count('"kind":"sample"') < samples:
        pass
    return (start, time.monotonic_ns())


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Three seconds of work by this process, recorded, and the recorder's CPU seconds as the system counts them."""
    path = tmp_path_factory.mktemp("recording") / "run.trace.jsonl"
    with Recorder(path, interval_s=0.1) as recorder:
        process = psutil.Process(recorder.pid)
        before = sum(process.cpu_times()[:2])
        assert recorder.mark("before")
        window = work(3, path, 30)
        assert recorder.mark("after")
        used_s = sum(process.cpu_times()[:2]) - before
    return load_trace(path), window, used_s


def test_the_work_of_the_measuring_process_is_seen(recording):
    """The watched process's CPU time and memory are in the summary of its window."""
    trace, window, _used = recording
    host = summarize(trace, [window]).devices["host"]
    assert host["watched_cpu_cores"].maximum > 0.05  # the least that counts as work; a busy machine leaves us little
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


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_it_ends_when_its_parent_is_killed(tmp_path):
    """A parent killed without a chance to clean up leaves no recorder behind, and a complete trace."""
    path = tmp_path / "t.trace.jsonl"
    code = (
        "import pathlib, time\nfrom rtxbench.hardware.recorder import Recorder\n"
        f"r = Recorder(pathlib.Path({str(path)!r})).__enter__()\nprint(r.pid, flush=True)\ntime.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    recorder_pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: gone(recorder_pid), "the end of the recorder")
    assert load_trace(path).end.reason == "parent ended"


def test_a_killed_recorder_is_noticed_and_its_trace_read(tmp_path):
    """The measurement goes on without its recorder; what was on disk is kept."""
    path = tmp_path / "t.trace.jsonl"
    with Recorder(path) as recorder:
        recorder.mark("one")
        os.kill(recorder.pid, signal.SIGKILL)
        pid = recorder.pid
        wait_until(lambda: gone(pid), "the end of the recorder")
        assert not recorder.mark("two")
        wait_until(lambda: not recorder.alive, "the recorder to be reaped")  # its pipes close a moment before
    trace = load_trace(path)
    assert trace.end is None
    assert [mark.label for mark in trace.marks] == ["start", "one"]


def test_an_interrupt_while_it_starts_neither_ends_it_nor_prints(tmp_path, monkeypatch, capfd):
    """A SIGINT that comes before the recorder can ignore it is held back, then ignored; nothing is printed."""
    start = Recorder._start

    def interrupted(recorder):
        process = start(recorder)
        os.kill(process.pid, signal.SIGINT)
        return process

    monkeypatch.setattr(Recorder, "_start", interrupted)
    with Recorder(tmp_path / "r.trace.jsonl") as recorder:
        assert recorder.mark("alive")
    assert capfd.readouterr().err == ""


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
