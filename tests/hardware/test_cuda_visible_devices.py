"""CUDA_VISIBLE_DEVICES as the CUDA programming guide defines it."""

import pytest

from rtxbench.hardware.cuda_visible_devices import ListedGpu, visible_gpus

A = ListedGpu("GPU-aaaa1111", "RTX 4090")
B = ListedGpu("GPU-bbbb2222", "RTX 4090")
OTHER = ListedGpu("GPU-cccc3333", "RTX 3060")
MIG = ListedGpu("MIG-dddd4444", "A100 MIG 1g", parent_uuid=A.uuid)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, [A, B]),
        ("0", [A]),
        ("1,0", [B, A]),
        ("", []),
        ("-1", []),
        ("0,-1,1", [A]),
        ("1,7,0", [B]),
        ("GPU-bbbb2222", [B]),
        ("GPU-bb", [B]),
        ("gpu-bb", []),
        ("GPU-", []),
        ("0,0", [A]),
        (" 1 , 0 ", [B, A]),
        ("banana", []),
    ],
)
def test_entries(value, expected):
    """Indices, UUIDs and prefixes; the list ends at the first entry that names nothing, or one named before."""
    environment = {} if value is None else {"CUDA_VISIBLE_DEVICES": value}
    assert visible_gpus([A, B], environment).uuids == tuple(gpu.uuid for gpu in expected)


def test_mig_instances_are_named_by_uuid():
    """A MIG instance is chosen by its UUID; unnamed, CUDA sees one instance in place of its GPU."""
    assert visible_gpus([A, MIG], {"CUDA_VISIBLE_DEVICES": MIG.uuid}).uuids == (MIG.uuid,)
    assert visible_gpus([A, MIG], {}).uuids == (MIG.uuid,)


def test_index_order_of_different_cards_is_cautioned():
    """CUDA numbers different cards fastest first unless told otherwise: said, not guessed."""
    assert visible_gpus([A, OTHER], {"CUDA_VISIBLE_DEVICES": "0"}).caution is not None
    ordered = {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert visible_gpus([A, OTHER], ordered).caution is None
    assert visible_gpus([A, OTHER], {"CUDA_VISIBLE_DEVICES": A.uuid}).caution is None
