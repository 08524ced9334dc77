"""The reader of profiler traces against bytes made by hand, as protobuf defines them."""

import pytest

from rtxbench.diagnosis.xplane import device_kernels
from rtxbench.errors import RecordError


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field, value):
    return varint(field << 3) + varint(value)


def block(field, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def plane(name, lines, names):
    metadata = b"".join(block(4, number(1, i) + block(2, number(1, i) + block(2, n))) for i, n in names.items())
    return block(1, number(1, 7) + block(2, name) + b"".join(lines) + metadata)


def line(name, events):
    body = block(2, name) + number(3, 123456789)
    return block(3, body + b"".join(block(4, number(1, i) + number(2, 5) + number(3, ps)) for i, ps in events))


def test_kernels_of_the_gpu_streams_are_read(tmp_path):
    """Streams of GPU planes count; the host, and lines that repeat the streams' time, do not."""
    names = {1: "nvjet_hsh", 300: "loop_fusion"}
    space = plane("/host:CPU", [line("Stream #1", [(1, 10**9)])], {1: "host work"})
    gpu_lines = [line("Stream #13(Compute)", [(1, 2 * 10**9), (300, 10**6)]), line("XLA Ops", [(1, 10**9)])]
    space += plane("/device:GPU:0", gpu_lines, names)
    path = tmp_path / "host.xplane.pb"
    path.write_bytes(space)
    assert device_kernels(path) == [("nvjet_hsh", pytest.approx(2e-3)), ("loop_fusion", pytest.approx(1e-6))]


@pytest.mark.parametrize("data", [b"\x0a\xff\xff\x03abc", b"\xff" * 20, b"\x0f", b"\x0a\x04\x22\x02\x08\x01" + b"\x0a"])
def test_garbage_is_a_record_error(tmp_path, data):
    """Truncated lengths, endless numbers and unknown wire types are refused, not crashed on."""
    path = tmp_path / "x.pb"
    path.write_bytes(data)
    with pytest.raises(RecordError):
        device_kernels(path)


def test_an_empty_trace_has_no_kernels(tmp_path):
    """A CPU-only profile has no GPU plane."""
    path = tmp_path / "x.pb"
    path.write_bytes(b"")
    assert device_kernels(path) == []


@pytest.mark.slow
def test_the_reader_agrees_with_the_generated_protobuf_module(tmp_path):
    """A trace serialised by TensorFlow's own module is read alike."""
    pb2 = pytest.importorskip("tensorflow.tsl.profiler.protobuf.xplane_pb2")
    space = pb2.XSpace()
    gpu = space.planes.add(name="/device:GPU:0", id=3)
    gpu.event_metadata[12].id = 12
    gpu.event_metadata[12].name = "sm86_xmma_fprop"
    gpu.stat_metadata[1].name = "correlation_id"
    stream = gpu.lines.add(name="Stream #7(Compute)", timestamp_ns=10**18)
    event = stream.events.add(metadata_id=12, offset_ps=5, duration_ps=4_000_000)
    event.stats.add(metadata_id=1, double_value=2.5)
    path = tmp_path / "x.pb"
    path.write_bytes(space.SerializeToString())
    assert device_kernels(path) == [("sm86_xmma_fprop", pytest.approx(4e-6))]
