"""A bundle comes back as it was written, holds nothing personal, and is refused where it cannot be true."""

import re
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from rtxbench.cli.shared_file import anonymous_json
from rtxbench.errors import RecordError
from rtxbench.gpu_selftest.bundle import Bundle, load_bundle
from rtxbench.gpu_selftest.checks import check_bundle
from tests.gpu_bundles import UUID, good_bundle


def written(folder: Path, bundle: Bundle) -> Path:
    path = folder / "bundle.json"
    path.write_bytes(anonymous_json(bundle))
    return path


def test_a_bundle_comes_back_and_judges_as_before(tmp_path: Path) -> None:
    """What a user attaches is what the checks saw on the user's machine."""
    bundle = good_bundle()
    assert check_bundle(load_bundle(written(tmp_path, bundle))) == check_bundle(bundle)


def test_a_bundle_holds_no_path_address_or_serial_number(tmp_path: Path) -> None:
    """A card's UUID becomes a number, the same in every place; homes and addresses are taken out."""
    bundle = good_bundle()
    environment = replace(bundle.environment, libraries={"XLA_FLAGS": "--dir=/home/ada/x me@example.org"})
    text = written(tmp_path, replace(bundle, environment=environment)).read_text()
    assert UUID not in text
    assert "ada" not in text
    assert "example.org" not in text
    assert set(re.findall(r"GPU-\w+", text)) == {"GPU-0"}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda b: replace(b, version=2), "Upgrade rtxbench"),
        (lambda b: replace(b, ramp=replace(b.ramp, end_ns=1)), "ends before it begins"),
        (lambda b: replace(b, ramp=replace(b.ramp, samples=b.ramp.samples[::-1])), "order of time"),
        (lambda b: replace(b, proofs=(replace(b.proofs[0], peak_memory_bytes=-1.0),)), "below zero"),
        (lambda b: replace(b, trace=b.trace[1:]), "does not start with a trace header"),
    ],
)
def test_a_bundle_that_cannot_be_true_is_refused(tmp_path: Path, damage: object, said: str) -> None:
    """One message with the file's name, whatever is wrong."""
    path = written(tmp_path, damage(good_bundle()))  # type: ignore[operator]
    with pytest.raises(RecordError, match=re.escape(said)):
        load_bundle(path)


@pytest.mark.parametrize("text", ["", "{}\n", "[1, 2]\n", '{"kind": "gpu-selftest"}\n', "not JSON\n", "{"])
def test_what_is_no_bundle_is_refused(tmp_path: Path, text: str) -> None:
    """Other JSON, an empty file and half a file end in one message."""
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(RecordError):
        load_bundle(path)


def test_figures_out_of_every_range_are_refused(tmp_path: Path) -> None:
    """A stranger's number overflows nothing: its field is bounded."""
    data = msgspec.to_builtins(good_bundle())
    data["proofs"][0]["peak_memory_bytes"] = 1e300
    path = tmp_path / "huge.json"
    path.write_bytes(msgspec.json.encode(data) + b"\n")
    with pytest.raises(RecordError, match=re.escape("huge.json, line 1")):
        load_bundle(path)
