"""Results brought by hand from several machines become one folder, and nothing is lost or counted twice."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rtxbench.errors import MeasurementError, RecordError
from rtxbench.results.merge import merge_results
from rtxbench.results.store import find_result_files, load_results
from tests.synthetic import write_results


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    """Three machines, one run each, as they were copied off a stick."""
    return write_results(tmp_path / "brought")


def first(folder: Path) -> Path:
    return find_result_files([folder])[0]


def edit(path: Path, line: int, **changes: object) -> None:
    lines = path.read_text().splitlines()
    lines[line] = json.dumps(json.loads(lines[line]) | changes)
    path.write_text("\n".join(lines) + "\n")


def test_machines_stay_apart_and_every_record_arrives(brought: Path, tmp_path: Path) -> None:
    """Three machines give three folders whose files equal what was brought, traces included."""
    merged = merge_results([brought], tmp_path / "out")
    assert len(merged.machines) == 3
    before, after = ({x.run.run_id: x for x in load_results([folder])} for folder in (brought, tmp_path / "out"))
    assert before.keys() == after.keys()
    assert all(before[run_id].records == after[run_id].records for run_id in before)
    assert len(merged.traces) == 2  # the third machine was not recorded


def test_merging_twice_changes_nothing(brought: Path, tmp_path: Path) -> None:
    """A second merge writes no file and leaves every byte as it was."""
    merge_results([brought], tmp_path / "out")
    before = {path: path.read_bytes() for path in find_result_files([tmp_path / "out"])}
    again = merge_results([brought], tmp_path / "out")
    assert (again.written, again.traces) == ((), ())
    assert len(again.present) == 3
    assert {path: path.read_bytes() for path in find_result_files([tmp_path / "out"])} == before


def test_a_copy_of_a_run_is_taken_once_and_the_longer_one_wins(brought: Path, tmp_path: Path) -> None:
    """A file copied while it was being written is the start of the full one: the full one is kept."""
    whole = first(brought)
    early = tmp_path / "early" / whole.name
    early.parent.mkdir()
    early.write_text("".join(whole.read_text().splitlines(keepends=True)[:3]) + '{"kind": "ca')
    merged = merge_results([early, brought], tmp_path / "out")
    assert merged.duplicates == (early,)
    (written,) = [path for path in merged.written if path.name == whole.name]
    assert written.read_bytes() == whole.read_bytes()


def test_an_unfinished_last_line_is_left_out(brought: Path, tmp_path: Path) -> None:
    """What a killed run left half-written does not reach the merged file; everything before it does."""
    cut = first(brought)
    complete = cut.read_bytes()
    cut.write_bytes(complete + b'{"kind": "case", "rec')
    merged = merge_results([cut], tmp_path / "out")
    assert merged.written[0].read_bytes() == complete


def test_two_files_that_contradict_each_other_stop_the_merge(brought: Path, tmp_path: Path) -> None:
    """An edited copy of a run is named, and nothing is written at all."""
    edited = tmp_path / "edited.jsonl"
    shutil.copy(first(brought), edited)
    edit(edited, 1, finished_at="2020-01-01T00:00:00+00:00")
    with pytest.raises(RecordError, match="differ"):
        merge_results([brought, edited], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_record_copied_into_another_run_is_found(brought: Path, tmp_path: Path) -> None:
    """One record id in two runs would count one measurement twice."""
    one, other, *_ = find_result_files([brought])
    stolen = json.loads(one.read_text().splitlines()[1])
    run_id = json.loads(other.read_text().splitlines()[0])["run_id"]
    with other.open("a") as stream:
        stream.write(json.dumps(stolen | {"run_id": run_id}) + "\n")
    with pytest.raises(RecordError, match="different runs"):
        merge_results([brought], tmp_path / "out")


def test_a_record_of_a_foreign_run_is_found(brought: Path, tmp_path: Path) -> None:
    """A file's records name its own run."""
    edit(first(brought), 1, run_id="20200101T000000-other")
    with pytest.raises(RecordError, match="of run 20200101T000000-other"):
        merge_results([brought], tmp_path / "out")


def test_nothing_there_is_overwritten(brought: Path, tmp_path: Path) -> None:
    """A different file under the target's name stays as it is and the merge says so."""
    merge_results([brought], tmp_path / "out")
    target = first(tmp_path / "out")
    edit(target, 1, finished_at="2020-01-01T00:00:00+00:00")
    before = target.read_bytes()
    with pytest.raises(RecordError, match="nothing was overwritten"):
        merge_results([brought], tmp_path / "out")
    assert target.read_bytes() == before


@pytest.mark.parametrize("name", ["../../etc", "a/b", "..", "", "x.trace", 'x"><meta http-equiv=refresh>', "x\\1"])
def test_a_hostile_machine_name_writes_nowhere(brought: Path, tmp_path: Path, name: str) -> None:
    """A stranger's file cannot choose another folder to be written to."""
    path = first(brought)
    header = json.loads(path.read_text().splitlines()[0])
    edit(path, 0, environment=header["environment"] | {"machine": name})
    with pytest.raises(RecordError, match="regex"):
        merge_results([path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_newer_schema_says_to_upgrade(brought: Path, tmp_path: Path) -> None:
    """Records of a later version are not guessed at."""
    edit(first(brought), 0, schema_version=99, novelty=True)
    with pytest.raises(RecordError, match="schema version 99"):
        merge_results([brought], tmp_path / "out")


def test_nothing_to_merge_is_an_error(tmp_path: Path) -> None:
    """An empty folder, and the output folder itself, are no sources."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match="no results files"):
        merge_results([tmp_path / "empty"], tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_explained(brought: Path, tmp_path: Path) -> None:
    """A file where the folder should be: the reason, the next step, and no draft left behind."""
    (tmp_path / "out").write_text("a file")
    with pytest.raises(MeasurementError, match="--out"):
        merge_results([brought], tmp_path / "out")


def test_the_command_says_what_it_did(brought: Path, tmp_path: Path) -> None:
    """`rtxbench merge` lists the files and the next step; a fault is one line and exit code 5."""
    command = [sys.executable, "-c", "from rtxbench.cli import main; main()", "merge", str(brought), "--out"]
    done = subprocess.run([*command, str(tmp_path / "out")], capture_output=True, text=True, check=True)
    assert "3 runs of 3 machines" in done.stdout
    first(brought).write_text("not a result\n")
    bad = subprocess.run([*command, str(tmp_path / "other")], capture_output=True, text=True, check=False)
    assert (bad.returncode, "line 1" in bad.stderr) == (5, True)


def test_a_carriage_return_between_fields_loses_no_record(brought: Path, tmp_path: Path) -> None:
    """JSON allows a bare carriage return as white space; it ends no line of a results file."""
    path = first(brought)
    path.write_bytes(path.read_bytes().replace(b'{"', b'{\r"', 1).replace(b',"', b',\r"'))
    merged = merge_results([path], tmp_path / "out")
    assert load_results([merged.written[0]])[0].records == load_results([path])[0].records
