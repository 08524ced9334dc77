"""``rtxbench trace -- COMMAND`` as a user runs it."""

import json
import os
import signal
import subprocess
import sys

import pytest

from rtxbench.hardware.trace import load_trace
from tests.nvml_stub import GPU0, build, compiler
from tests.waiting import HANG_S, gone, wait_until

RTXBENCH = [sys.executable, "-c", "from rtxbench.cli import main; main()"]
BUSY = "import time\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass"


def run_trace(tmp_path, *command, options=(), **kwargs):
    path = tmp_path / "t.trace.jsonl"
    line = [*RTXBENCH, "trace", "--out", str(path), *options, "--", *command]
    return path, subprocess.run(line, check=False, capture_output=True, text=True, timeout=HANG_S, **kwargs)


def test_exit_code_output_and_summary(tmp_path):
    """The command's exit code and output are its own; the summary goes to stderr; the trace is complete."""
    path, done = run_trace(tmp_path, sys.executable, "-c", f"{BUSY}\nprint('mine'); raise SystemExit(7)")
    assert done.returncode == 7
    assert done.stdout == "mine\n"
    for words in ("exit code 7", "cores used by the command", "no GPU recorded", str(path)):
        assert words in done.stderr
    assert load_trace(path).end.reason == "stopped"


def test_json_is_the_last_line_of_stdout(tmp_path):
    """Programs read the same summary; the command's own output comes before it."""
    _path, done = run_trace(tmp_path, sys.executable, "-c", f"{BUSY}\nprint('mine')", options=["--json"])
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["exit_code"] == 0
    assert report["complete"]
    assert report["hardware"]["devices"]["host"]["watched_cpu_cores"]["maximum"] > 0.05  # what counts as work
    assert report["window_ns"][1] - report["window_ns"][0] == pytest.approx(report["duration_s"] * 1e9)


def test_a_command_killed_by_a_signal_ends_as_in_a_shell(tmp_path):
    """128 + signal number."""
    _path, done = run_trace(tmp_path, "sh", "-c", "kill -TERM $$")
    assert done.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(("command", "words"), [(["no-such-program"], "cannot start"), ([os.curdir], "cannot start")])
def test_a_command_that_cannot_start_is_a_usage_error(tmp_path, command, words):
    """Exit code 2, a message, and no empty trace left behind."""
    path, done = run_trace(tmp_path, *command)
    assert done.returncode == 2
    assert words in done.stderr
    assert not path.exists()


def test_an_existing_trace_is_kept(tmp_path):
    """A second recording never overwrites the first."""
    (tmp_path / "t.trace.jsonl").write_text("precious")
    path, done = run_trace(tmp_path, "true")
    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert path.read_text() == "precious"


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a process group, as a terminal does")
def test_ctrl_c_keeps_the_trace(tmp_path):
    """Ctrl-C ends the command; the recorder finishes its trace and the summary is printed."""
    path = tmp_path / "t.trace.jsonl"
    line = [*RTXBENCH, "trace", "--out", str(path), "--", sys.executable, "-c", "import time; time.sleep(600)"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_until(lambda: path.exists() and path.read_text().count('"sample"') > 20, "samples")
    os.killpg(process.pid, signal.SIGINT)
    _output, errors = process.communicate(timeout=HANG_S)
    assert process.returncode in (1, 128 + signal.SIGINT)
    assert "ran for" in errors
    assert load_trace(path).end.reason == "stopped"


@pytest.mark.skipif(compiler() is None or sys.platform != "linux", reason="no C compiler to build the NVML stand-in")
def test_gpus_are_summarised(tmp_path):
    """With a card, power, clocks and what likely held it back are in the summary; the timeline is drawn."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(build(tmp_path)), "NVML_STUB": "power_w=250 reasons=4 util=50"}
    picture = tmp_path / "timeline.png"
    _path, done = run_trace(tmp_path, "sleep", "2", options=["--figure", str(picture)], env=environment)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "Likely held back by this: the GPU waits for the host" in done.stderr
    assert f"NVIDIA GeForce RTX 4090 {GPU0}" in done.stderr
    assert "250 W" in done.stderr
    assert "held back by the power limit" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent was killed")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_the_command_does_not_outlive_its_tracer(tmp_path, number):
    """A cancelled CI job must not go on training: whatever ends the tracer ends the command, too."""
    said = tmp_path / "pid"
    sleeper = f"import os, pathlib, time; pathlib.Path({str(said)!r}).write_text(str(os.getpid())); time.sleep(1000)"
    line = [*RTXBENCH, "trace", "--out", str(tmp_path / "t.trace.jsonl"), "--", sys.executable, "-c", sleeper]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tracer:
        wait_until(lambda: said.exists() and said.read_text(), "the traced command")
        tracer.send_signal(number)
        wait_until(lambda: gone(int(said.read_text())), "the traced command's end")
