"""Loading traces: tolerant of a cut-off end, strict everywhere else; summaries of windows."""

import json

import pytest

from rtxbench.errors import RecordError
from rtxbench.hardware.trace import load_trace, sampling_jitter_s, summarize
from tests.hardware_traces import GPU, SECOND_NS, trace

HEADER = {
    "kind": "trace",
    "version": 1,
    "interval_s": 0.1,
    "monotonic_ns": 1,
    "realtime_ns": 2,
    "watch_pids": [1],
    "logical_cores": 2,
    "pids_comparable": True,
    "gpus": [],
    "gpu_missing": "NVML cannot start",
}
SAMPLE = {
    "kind": "sample",
    "t": 100,
    "device": "host",
    "values": {"steal_ratio": 0.5, "core_utilization_ratio": [0, 1]},
}
WINDOW = [(5 * SECOND_NS, 15 * SECOND_NS)]


def written(tmp_path, *lines, tail=b""):
    path = tmp_path / "run.trace.jsonl"
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines) + tail)
    return path


def test_a_cut_off_last_line_is_forgiven_and_noted(tmp_path):
    """A killed recorder leaves half a line: the rest is read, and the trace says so."""
    loaded = load_trace(written(tmp_path, HEADER, SAMPLE, tail=b'{"kind":"sample","t":2'))
    assert loaded.truncated
    assert loaded.end is None
    assert loaded.get("host", "steal_ratio").values.tolist() == [0.5]
    assert loaded.cores.values.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "sample", "t": "soon", "device": "host", "values": {}},
        {"kind": "sample", "t": 1, "device": "host", "values": {"x": "<script>"}},
        {"kind": "sample", "t": 10**25, "device": "host", "values": {"x": 1}},
        {"kind": "sample", "t": -1, "device": "host", "values": {"x": 1}},
        {"kind": "surprise"},
        {**SAMPLE, "extra": 1},
    ],
)
def test_a_malformed_line_is_an_error_with_its_number(tmp_path, bad):
    """Anything unexpected before the end is refused and located."""
    with pytest.raises(RecordError, match="line 2"):
        load_trace(written(tmp_path, HEADER, bad, SAMPLE))


@pytest.mark.parametrize("lines", [[], [SAMPLE], [{**HEADER, "version": 99}]])
def test_what_is_no_trace_is_refused(tmp_path, lines):
    """An empty file, one without a header and one from a newer version are record errors."""
    with pytest.raises(RecordError):
        load_trace(written(tmp_path, *lines))


def test_a_missing_file_is_a_record_error(tmp_path):
    """The operating system's error is translated."""
    with pytest.raises(RecordError, match="cannot read"):
        load_trace(tmp_path / "nowhere.jsonl")


def test_a_line_without_end_is_refused(tmp_path):
    """A hostile file cannot make the loader read without bound."""
    path = tmp_path / "huge"
    path.write_bytes(b"x" * (2**20 + 10))
    with pytest.raises(RecordError, match="longer than 1048576 bytes"):
        load_trace(path)


def test_summary_of_a_gpu_window():
    """Metrics are summarised, event reasons become shares, energy and idle power stand beside them."""
    gpu = {
        "clock_event_reasons_bitmask": 4,
        "gpu_utilization_ratio": lambda t: (t > 4) * 0.98,
        "power_w": lambda t: 20 + (t > 4) * 280,
    }
    summary = summarize(trace(gpu=gpu), WINDOW)
    assert summary.devices[GPU]["power_w"].mean == pytest.approx(300)
    assert summary.devices[GPU]["sw_power_cap_ratio"].mean == 1
    assert summary.devices[GPU]["hw_slowdown_ratio"].mean == 0
    assert summary.energy_j[GPU] == pytest.approx(3000)
    assert summary.idle_power_w[GPU] == 20
    assert summary.missing["host/energy_j"]


def test_a_machine_without_nvml_says_why():
    """No GPU series, and the reason under ``gpu``."""
    summary = summarize(trace(), WINDOW)
    assert list(summary.devices) == ["host"]
    assert summary.missing["gpu"] == "no NVML here"


def test_a_metric_not_sampled_in_the_windows_is_missing_not_zero():
    """Windows beyond the recording leave every metric absent with a reason."""
    summary = summarize(trace(), [(50 * SECOND_NS, 51 * SECOND_NS)])
    assert summary.devices == {}
    assert "host/cpu_utilization_ratio" in summary.missing


def test_jitter_of_a_regular_trace_is_zero():
    """Samples exactly 0.1 s apart have no jitter; one sample has none to speak of."""
    assert sampling_jitter_s(trace()).p95 == pytest.approx(0, abs=1e-6)
    assert sampling_jitter_s(trace(), "absent") is None
