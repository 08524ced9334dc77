from pathlib import Path

import msgspec
import pytest

from rtxbench.advice.own_machines import owned_machines
from rtxbench.catalog.cards import load_cards
from rtxbench.records import CaseRecord, Flag
from rtxbench.results.store import LoadedRun, load_results
from tests.synthetic import write_results

CARDS = load_cards()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedRun, ...]:
    folder: Path = tmp_path_factory.mktemp("results")
    write_results(folder)
    return tuple(load_results([folder]))


def test_one_row_per_machine_and_device_kind(runs: tuple[LoadedRun, ...]) -> None:
    """A machine's fastest figure in the asked-for precision; a CPU that never ran it, in its fastest other."""
    rows = {owned.name: owned for owned in owned_machines("resnet50", "mixed_float16", runs, CARDS)}
    assert rows["NVIDIA GeForce RTX 4090"].precision == "mixed_float16"
    assert rows["Intel Xeon Platinum 8481C"].precision == "mixed_bfloat16"
    laptop = rows["NVIDIA GeForce RTX 3060 Laptop GPU"].card
    assert laptop is not None
    assert laptop.card_class == "laptop"


def test_measured_scaling_is_told(runs: tuple[LoadedRun, ...]) -> None:
    """Two cards at the same batch each, against one: the efficiency is told where it was measured, and only there."""
    rows = {owned.name: owned for owned in owned_machines("resnet50", "float32", runs, CARDS)}
    assert "2 of them gave" in rows["NVIDIA GeForce RTX 4090"].scaling
    assert rows["Intel Xeon Platinum 8481C"].scaling == ""
    other = {owned.name: owned for owned in owned_machines("resnet50", "mixed_float16", runs, CARDS)}
    assert other["NVIDIA GeForce RTX 4090"].scaling == ""


def test_void_windows_do_not_count(runs: tuple[LoadedRun, ...]) -> None:
    """A record whose window is invalid is no figure of the machine."""
    flag = Flag(code="thermal", severity="invalid", detail="too hot")

    def voided(loaded: LoadedRun) -> LoadedRun:
        records = (
            msgspec.structs.replace(record, flags=(flag,)) if isinstance(record, CaseRecord) else record
            for record in loaded.records
        )
        return loaded._replace(records=tuple(records))

    assert owned_machines("resnet50", "mixed_float16", [voided(loaded) for loaded in runs], CARDS) == ()


def test_other_workloads_are_not_taken(runs: tuple[LoadedRun, ...]) -> None:
    """Nothing is said of a workload the machines did not run."""
    assert owned_machines("gnmt", "mixed_float16", runs, CARDS) == ()
