"""Find the GPUs a CUDA program sees: read ``CUDA_VISIBLE_DEVICES`` as the driver does. Standard library only.

Cards that differ are numbered fastest first, by a rule that NVML does not know: then the driver itself is asked.
``python -m rtxbench.hardware.cuda_visible_devices`` prints one UUID a line; a process of its own, because CUDA reads
its variables once.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

import rtxbench

__all__ = ["ListedGpu", "Visible", "cuda_uuids", "main", "pin_visible_gpus", "visible_gpus"]

_LIMIT_S: Final = 30.0


class ListedGpu(NamedTuple):
    """A GPU or MIG instance as NVML lists it."""

    uuid: str
    name: str
    parent_uuid: str | None = None


class Visible(NamedTuple):
    """UUIDs in the order CUDA numbers them, and why the match is uncertain (``None`` when it is not)."""

    uuids: tuple[str, ...]
    caution: str | None


def visible_gpus(listed: Sequence[ListedGpu], environment: Mapping[str, str]) -> Visible:
    """Resolve ``CUDA_VISIBLE_DEVICES`` against NVML's list (PCI bus order).

    Follows the CUDA programming guide: entries are indices, UUIDs or unambiguous UUID prefixes; the list ends at
    the first entry that matches nothing; an empty value hides every GPU. Indices count by ``CUDA_DEVICE_ORDER``,
    whose default (fastest first) NVML cannot reproduce when the cards differ: then the match carries a caution.
    """
    whole = [gpu for gpu in listed if gpu.parent_uuid is None]
    mig_parents = {gpu.parent_uuid for gpu in listed if gpu.parent_uuid is not None}
    entries = environment.get("CUDA_VISIBLE_DEVICES")
    caution = _order_caution(whole, environment)
    if entries is None:
        # CUDA enumerates at most one MIG instance when none is named.
        first_mig = [gpu.uuid for gpu in listed if gpu.parent_uuid is not None][:1]
        plain = [gpu.uuid for gpu in whole if gpu.uuid not in mig_parents]
        return Visible(tuple(plain or first_mig), caution)
    found: list[str] = []
    for entry in entries.split(","):
        match = _match(entry.strip(), whole, listed)
        if match is None or match in found:
            break
        found.append(match)
    by_index = any(entry.strip().isdigit() for entry in entries.split(","))
    return Visible(tuple(found), caution if by_index else None)


def pin_visible_gpus(uuids: Sequence[str]) -> None:
    """Name the GPUs by UUID to every process started from here on, so that none can number them in another way."""
    if uuids:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(uuids)


def _match(entry: str, whole: Sequence[ListedGpu], listed: Sequence[ListedGpu]) -> str | None:
    if entry.isdigit():
        return whole[int(entry)].uuid if int(entry) < len(whole) else None
    if not entry.startswith(("GPU-", "MIG-")):
        return None
    matches = [gpu.uuid for gpu in listed if gpu.uuid.lower().startswith(entry.lower())]
    return matches[0] if len(matches) == 1 else None


def _order_caution(whole: Sequence[ListedGpu], environment: Mapping[str, str]) -> str | None:
    if environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({gpu.name for gpu in whole}) < 2:
        return None
    return "different cards and CUDA_DEVICE_ORDER is not PCI_BUS_ID: CUDA may number them in another order"


def cuda_uuids() -> tuple[str, ...]:
    """List the UUIDs of the GPUs that a CUDA program started now would see, in its order; none if CUDA is silent."""
    root = os.fspath(Path(rtxbench.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-P", "-m", "rtxbench.hardware.cuda_visible_devices"]
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
