"""Find the GPUs a CUDA program sees: read ``CUDA_VISIBLE_DEVICES`` as the driver does. Standard library only."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["ListedGpu", "Visible", "pin_visible_gpus", "visible_gpus"]


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
