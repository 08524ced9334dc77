"""Read events, kernels above all, from a profiler's ``xplane.pb`` (TensorFlow and JAX write the same format).

A reader of the few protobuf fields needed, because the generated module lives in a private corner of TensorFlow's
package and is absent where only JAX is installed. Field numbers: tsl/profiler/protobuf/xplane.proto.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from rtxbench.errors import RecordError

__all__ = ["GPU_PLANE", "HOST_PLANE", "ProfiledEvent", "ProfiledLine", "device_kernels", "profiled_lines"]

GPU_PLANE: Final = "/device:GPU"
HOST_PLANE: Final = "/host:CPU"

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_Field: TypeAlias = tuple[int, int | bytes]
_PICOSECOND: Final = 1e-12

# Field numbers of XSpace, XPlane, XLine, XEvent and XEventMetadata.
_SPACE_PLANES: Final = 1
_PLANE_NAME, _PLANE_LINES, _PLANE_EVENT_METADATA = 2, 3, 4
_LINE_NAME, _LINE_START_NS, _LINE_EVENTS = 2, 3, 4
_EVENT_METADATA_ID, _EVENT_OFFSET_PS, _EVENT_DURATION_PS = 1, 2, 3
_MAP_VALUE, _METADATA_ID, _METADATA_NAME = 2, 1, 2


class ProfiledEvent(NamedTuple):
    """Something that ran; its start is counted from where the trace's clock does."""

    name: str
    start_s: float
    duration_s: float


class ProfiledLine(NamedTuple):
    """One row of a timeline: a thread of the host, a stream of a device."""

    title: str
    events: tuple[ProfiledEvent, ...]

    @property
    def is_stream(self) -> bool:
        """Return whether its events are a device's work; other rows of a device repeat the same time."""
        return self.title.startswith("Stream")


def device_kernels(path: Path) -> list[tuple[str, float]]:
    """Return (kernel name, seconds) of everything that ran on the GPUs' streams.

    Raises:
        RecordError: the file is no xplane protobuf.
    """
    streams = (line for line in profiled_lines(path, GPU_PLANE) if line.is_stream)
    return [(event.name, event.duration_s) for line in streams for event in line.events]


def profiled_lines(path: Path, planes: str) -> list[ProfiledLine]:
    """Read the rows of the planes whose names begin with ``planes``.

    Raises:
        RecordError: the file is no xplane protobuf.
    """
    try:
        space = path.read_bytes()
        found = (value for number, value in _fields(space) if number == _SPACE_PLANES)
        return [line for plane in found for line in _plane(plane, planes)]
    except (IndexError, UnicodeDecodeError, TypeError) as error:
        raise RecordError(f"{path} is no profiler trace: {error}.", next_step="Profile the step again.") from error


def _plane(data: int | bytes, wanted: str) -> Iterator[ProfiledLine]:
    fields = list(_fields(_as_bytes(data)))
    name = next((_as_bytes(value).decode() for number, value in fields if number == _PLANE_NAME), "")
    if not name.startswith(wanted):
        return
    names = dict(_metadata(_as_bytes(value)) for number, value in fields if number == _PLANE_EVENT_METADATA)
    for number, line in fields:
        if number == _PLANE_LINES:
            yield _line(_as_bytes(line), names)


def _metadata(entry: bytes) -> tuple[int, str]:
    """Read one entry of the map from id to event metadata."""
    value = next(_as_bytes(v) for number, v in _fields(entry) if number == _MAP_VALUE)
    identity, name = 0, ""
    for number, field in _fields(value):
        if number == _METADATA_ID and isinstance(field, int):
            identity = field
        elif number == _METADATA_NAME:
            name = _as_bytes(field).decode()
    return identity, name


def _line(data: bytes, names: dict[int, str]) -> ProfiledLine:
    fields = list(_fields(data))
    title = next((_as_bytes(value).decode() for number, value in fields if number == _LINE_NAME), "")
    began_ns = next((value for number, value in fields if number == _LINE_START_NS and isinstance(value, int)), 0)
    events = []
    for number, event in fields:
        if number == _LINE_EVENTS:
            values = {n: v for n, v in _fields(_as_bytes(event)) if isinstance(v, int)}
            start_s = began_ns * 1e-9 + values.get(_EVENT_OFFSET_PS, 0) * _PICOSECOND
            duration_s = values.get(_EVENT_DURATION_PS, 0) * _PICOSECOND
            events.append(ProfiledEvent(names.get(values.get(_EVENT_METADATA_ID, 0), ""), start_s, duration_s))
    return ProfiledLine(title, tuple(events))


def _fields(data: bytes) -> Iterator[_Field]:
    """Yield (field number, value) of one protobuf message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
        elif wire == _BYTES:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise IndexError("a field is longer than its message")
            yield key >> 3, data[at : at + length]
            at += length
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise IndexError(f"wire type {wire}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise TypeError("a number where a message is expected")
    return value
