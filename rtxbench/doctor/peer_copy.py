"""Copy between two cards and look whether what arrived is what was sent: about a second, in a process of its own.

``python -m rtxbench.doctor.peer_copy`` prints one word and a detail. The driver's own library is called, so no engine
and no CUDA toolkit is needed; a copy that never returns is ended from outside.
"""

import ctypes
import subprocess
import sys
from typing import Any, Final, NamedTuple

__all__ = ["PeerCopies", "probe_peer_copies"]

_LIMIT_S: Final = 20.0
_BYTES: Final = 4 << 20
_PATTERN: Final = 0xA5


class PeerCopies(NamedTuple):
    """The outcome of copies between the first two cards."""

    state: str
    """ok: direct and right. staged: right, through the host. wrong, hang, unknown."""
    detail: str


def probe_peer_copies(limit_s: float = _LIMIT_S) -> PeerCopies:
    """Try it in a process of its own."""
    command = [sys.executable, "-P", "-m", "rtxbench.doctor.peer_copy"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return PeerCopies("hang", f"A copy of {_BYTES >> 20} MiB had not returned after {limit_s:.0f} s.")
    state, _, detail = done.stdout.strip().partition(" ")
    if state not in ("ok", "staged", "wrong"):
        lines = (done.stderr or done.stdout).strip().splitlines()
        return PeerCopies("unknown", lines[-1] if lines else "The test said nothing.")
    return PeerCopies(state, detail)


class _DriverError(Exception):
    pass


def _call(library: Any, function: str, *arguments: Any) -> None:
    code = getattr(library, function)(*arguments)
    if code != 0:
        raise _DriverError(f"{function} failed with CUDA error {code}")


def _copy() -> PeerCopies:
    cuda = ctypes.CDLL("libcuda.so.1")
    _call(cuda, "cuInit", 0)
    contexts = [_context(cuda, number) for number in (0, 1)]
    peer = ctypes.c_int()
    _call(cuda, "cuDeviceCanAccessPeer", ctypes.byref(peer), 0, 1)
    buffers = [_filled(cuda, context, pattern) for context, pattern in zip(contexts, (_PATTERN, 0), strict=True)]
    if peer.value:
        _call(cuda, "cuCtxEnablePeerAccess", contexts[0], 0)  # the second context, current now, may reach the first
    size = ctypes.c_size_t(_BYTES)
    _call(cuda, "cuMemcpyPeer", buffers[1], contexts[1], buffers[0], contexts[0], size)
    _call(cuda, "cuCtxSynchronize")
    arrived = (ctypes.c_ubyte * _BYTES)()
    _call(cuda, "cuMemcpyDtoH_v2", arrived, buffers[1], size)
    wrong = _BYTES - bytes(arrived).count(_PATTERN)
    if wrong:
        return PeerCopies("wrong", f"{wrong} of {_BYTES} bytes differ.")
    return PeerCopies("ok" if peer.value else "staged", "")


def _context(cuda: Any, number: int) -> Any:
    device, context = ctypes.c_int(), ctypes.c_void_p()
    _call(cuda, "cuDeviceGet", ctypes.byref(device), number)
    _call(cuda, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    return context


def _filled(cuda: Any, context: Any, pattern: int) -> Any:
    buffer = ctypes.c_uint64()
    _call(cuda, "cuCtxSetCurrent", context)
    _call(cuda, "cuMemAlloc_v2", ctypes.byref(buffer), ctypes.c_size_t(_BYTES))
    _call(cuda, "cuMemsetD8_v2", buffer, ctypes.c_ubyte(pattern), ctypes.c_size_t(_BYTES))
    _call(cuda, "cuCtxSynchronize")
    return buffer


def main() -> None:
    """Print the outcome; a driver that refuses is printed to stderr."""
    try:
        outcome = _copy()
    except (OSError, _DriverError) as error:
        sys.exit(f"{error}")
    print(f"{outcome.state} {outcome.detail}".strip())


if __name__ == "__main__":
    main()
