"""Timelines of profilers, made by hand: what becomes a share, and of what."""

import json
from pathlib import Path
from typing import Any

import pytest

from rtxbench.errors import RecordError
from rtxbench.tracing.in_program import STEP
from rtxbench.tracing.timelines import Timeline, read_tensorflow, read_torch, shares_of
from tests.diagnosis.test_xplane import block, number, plane


def chrome(cat: str, name: str, start_us: float, duration_us: float) -> dict[str, object]:
    return {"ph": "X", "cat": cat, "name": name, "pid": 1, "tid": 1, "ts": start_us, "dur": duration_us, "args": {}}


def test_each_moment_counts_once() -> None:
    """The device comes first, then input, then operators, whatever overlaps; what lies outside the steps is nothing."""
    timeline = Timeline(
        steps=[(10.0, 15.0), (15.0, 20.0)],
        device=[(8.0, 11.0), (10.5, 12.0)],  # 10-12: 2 s
        waiting=[(11.0, 15.0)],  # 12-15 is left of it: 3 s
        operators=[(10.0, 16.0), (15.5, 17.0), (19.0, 30.0)],  # 15-17 and 19-20: 3 s
        loader="tf.data",
    )
    shares = shares_of(timeline)
    assert shares.device == pytest.approx(0.2)
    assert shares.waiting == pytest.approx(0.3)
    assert shares.operators == pytest.approx(0.3)
    assert shares.rest == pytest.approx(0.2)


def test_a_profile_on_a_cpu_has_no_device() -> None:
    """Shares of what was never recorded are zero, and the rest is all of the time."""
    assert shares_of(Timeline([(0.0, 4.0)], [], [], [], "")) == (0.0, 0.0, 0.0, 1.0)
    with pytest.raises(RecordError, match="no step"):
        shares_of(Timeline([], [(0.0, 1.0)], [], [], ""))


def test_a_chrome_trace_is_read(tmp_path: Path) -> None:
    """Steps, the loader with its class, operators and kernels; flow arrows and names are passed over."""
    events = [
        chrome("user_annotation", "ProfilerStep#3", 1e6, 1e6),
        chrome("user_annotation", "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", 1e6, 2e5),
        chrome("user_annotation", "Optimizer.step#SGD.step", 1.2e6, 8e5),
        chrome("cpu_op", "aten::linear", 1.2e6, 5e5),
        chrome("kernel", "sgemm", 1.3e6, 1e5),
        chrome("cuda_runtime", "cudaLaunchKernel", 1.3e6, 1e5),
        {"ph": "f", "cat": "fwdbwd", "name": "fwdbwd", "ts": 1.0, "id": 1, "bp": "e"},
        {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "python"}},
    ]
    path = tmp_path / "torch.json"
    path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": events}))
    found = read_torch(path)
    assert found.steps == [(1.0, 2.0)]
    assert found.loader == "_SingleProcessDataLoaderIter"
    assert found.waiting == [(1.0, 1.2)]
    assert (len(found.operators), len(found.device)) == (1, 1)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"traceEvents": [{"ts": "x"}]}', b"\xff", b'{"traceEvents": ['])
def test_what_is_no_timeline_is_said_in_a_sentence(content: bytes, tmp_path: Path) -> None:
    """Cut off, empty or of another kind."""
    path = tmp_path / "torch.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match="no timeline"):
        read_torch(path)
    with pytest.raises(RecordError, match="no timeline"):
        read_tensorflow(tmp_path)


def test_an_xspace_is_read(tmp_path: Path) -> None:
    """Each row's events begin where the row does; a call of a function is known by what stands before its name."""
    names = {1: STEP, 2: "Iterator::Root", 3: "EagerLocalExecute: __inference_1", 4: "EagerExecute", 5: "MatMul"}

    def row(title: str, start_ns: int, *events: tuple[int, float, float]) -> Any:
        parts = [number(1, i) + number(2, int(at * 1e12)) + number(3, int(took * 1e12)) for i, at, took in events]
        return block(3, block(2, title) + number(3, start_ns) + b"".join(block(4, part) for part in parts))

    host = [row("python", 10**9, (1, 0.0, 2.0), (4, 1.0, 0.5), (3, 1.0, 0.5)), row("tf_data", 0, (2, 1.5, 0.25))]
    device = [row("Stream #13", 0, (5, 2.0, 0.5)), row("XLA Ops", 0, (5, 0.0, 9.0))]
    folder = tmp_path / "plugins" / "profile"
    folder.mkdir(parents=True)
    (folder / "vm.xplane.pb").write_bytes(plane("/host:CPU", host, names) + plane("/device:GPU:0", device, names))
    found = read_tensorflow(tmp_path)
    assert found.steps == [(pytest.approx(1.0), pytest.approx(3.0))]
    assert found.waiting == [(pytest.approx(1.5), pytest.approx(1.75))]
    assert found.operators == [(pytest.approx(2.0), pytest.approx(2.5))]
    assert found.device == [(pytest.approx(2.0), pytest.approx(2.5))]
    assert found.loader == "tf.data"
