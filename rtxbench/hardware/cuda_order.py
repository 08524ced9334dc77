"""Ask the CUDA driver itself in which order it numbers the GPUs.

Cards that differ are numbered fastest first, by a rule that NVML does not know. ``python -m
rtxbench.hardware.cuda_order`` prints one UUID a line; a process of its own, because CUDA reads its variables once.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import Final
from uuid import UUID

import rtxbench

__all__ = ["cuda_uuids"]

_LIMIT_S: Final = 30.0


def cuda_uuids() -> tuple[str, ...]:
    """The UUIDs of the GPUs that a CUDA program started now would see, in its order; empty where CUDA does not say."""
    root = os.fspath(Path(rtxbench.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-P", "-m", "rtxbench.hardware.cuda_order"]
    environment = {**os.environ, "PYTHONPATH": path}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return ()
    return tuple(done.stdout.split()) if done.returncode == 0 else ()


def main() -> None:
    """Print the UUIDs; exit code 1 where the driver refuses."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        sys.exit(str(error))
    count = ctypes.c_int()
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        sys.exit("the CUDA driver does not start")
    for number in range(count.value):
        device, raw = ctypes.c_int(), (ctypes.c_ubyte * 16)()
        if cuda.cuDeviceGet(ctypes.byref(device), number) != 0 or cuda.cuDeviceGetUuid(raw, device) != 0:
            sys.exit(f"the CUDA driver does not tell the UUID of device {number}")
        print(f"GPU-{UUID(bytes=bytes(raw))}")


if __name__ == "__main__":
    main()
