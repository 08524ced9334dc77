"""Results on disk: nothing finished is lost, nothing foreign is believed."""

import os
from pathlib import Path

import msgspec
import pytest

from rtxbench.errors import MeasurementError, RecordError
from rtxbench.records import SCHEMA_VERSION, Case, CaseRecord, Cpu, Environment, Observation, Run
from rtxbench.results.store import RunWriter, load_results, load_run


def header(run_id: str = "run-1") -> Run:
    return Run(
        schema_version=SCHEMA_VERSION,
        run_id=run_id,
        started_at="2026-01-01T00:00:00+00:00",
        monotonic_ns=1,
        realtime_ns=2,
        environment=Environment(
            machine="box", cpu=Cpu(name="cpu", physical_cores=1, logical_cores=2, memory_bytes=2**30)
        ),
        command=("rtxbench", "run"),
        profile="quick",
        rtxbench_version="0",
    )


def skipped(number: int) -> CaseRecord:
    return CaseRecord(
        record_id=f"r{number}",
        run_id="run-1",
        group="g",
        case=Case(workload="mlp", batch_size=number),
        status="skipped",
        finished_at="2026-01-01T00:00:00+00:00",
        reason="no GPU",
    )


def written(folder: Path, count: int = 3) -> Path:
    with RunWriter(folder, header()) as writer:
        for number in range(1, count + 1):
            writer.append(skipped(number))
    return writer.path


def test_what_was_appended_comes_back(tmp_path: Path) -> None:
    """A round trip through the file gives equal records in order, under results/<machine>/<run>.jsonl."""
    path = written(tmp_path)
    assert path == tmp_path / "box" / "run-1.jsonl"
    loaded = load_run(path)
    assert loaded.run == header()
    assert loaded.records == tuple(skipped(number) for number in (1, 2, 3))
    assert not loaded.truncated


def test_a_record_is_on_disk_before_the_next_one(tmp_path: Path) -> None:
    """A run that is killed keeps everything appended so far: no buffer holds it back."""
    writer = RunWriter(tmp_path, header())
    writer.append(skipped(1))
    assert len(load_run(writer.path).records) == 1
    writer.close()


def test_an_unfinished_last_line_is_left_out_and_said(tmp_path: Path) -> None:
    """What a killed run leaves behind is forgiven: its finished records load."""
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    loaded = load_run(path)
    assert loaded.truncated
    assert len(loaded.records) == 2


@pytest.mark.parametrize("cut", range(0, 900, 97))
def test_no_truncation_raises_anything_but_a_record_error(tmp_path: Path, cut: int) -> None:
    """Wherever a file is cut, it loads in part or says why not."""
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    try:
        assert load_run(path).truncated in (True, False)
    except RecordError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[1]",
        b"null",
        b'{"kind":"case"}',
        b'{"kind":"evil","x":1}',
        b"\xff\xfe",
        b'{"kind":"case","record_id":{"__proto__":1}}',
        b"[" * 100_000,
    ],
)
def test_a_foreign_line_in_the_middle_is_an_error_that_names_it(tmp_path: Path, line: bytes) -> None:
    """Malformed and hostile lines are refused with file and line number, never skipped in silence."""
    path = written(tmp_path)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:2], line, *lines[2:]]) + b"\n")
    with pytest.raises(RecordError, match=r"line 3"):
        load_run(path)


def test_an_unknown_field_is_an_error(tmp_path: Path) -> None:
    """A record may not smuggle in fields that this version does not know."""
    path = written(tmp_path, 1)
    path.write_text(path.read_text().replace('"status":', '"extra":1,"status":'))
    with pytest.raises(RecordError, match="extra"):
        load_run(path)


def test_a_newer_schema_asks_for_an_upgrade(tmp_path: Path) -> None:
    """A file of a newer version is told from a broken one."""
    data = msgspec.json.decode(msgspec.json.encode(header())) | {"schema_version": SCHEMA_VERSION + 1, "new": 1}
    path = tmp_path / "new.jsonl"
    path.write_bytes(msgspec.json.encode(data) + b"\n")
    with pytest.raises(RecordError, match="Update your checkout"):
        load_run(path)


def test_a_newer_schema_with_known_fields_only_is_refused_too(tmp_path: Path) -> None:
    """Fields alone do not make a file readable: the version decides."""
    path = tmp_path / "new.jsonl"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(header(), schema_version=SCHEMA_VERSION + 1)) + b"\n")
    with pytest.raises(RecordError, match="Update your checkout"):
        load_run(path)


def test_a_full_disk_is_a_clear_error_and_keeps_what_was_written(tmp_path: Path, monkeypatch) -> None:
    """ENOSPC becomes a MeasurementError with the next step; earlier records still load."""
    writer = RunWriter(tmp_path, header())
    writer.append(skipped(1))

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(MeasurementError, match="No space left"):
        writer.append(skipped(2))
    monkeypatch.undo()
    writer.close()
    assert len(load_run(writer.path).records) == 1


def test_a_run_is_never_written_over(tmp_path: Path) -> None:
    """A second writer of the same run id is refused."""
    written(tmp_path)
    with pytest.raises(MeasurementError, match="exists"):
        RunWriter(tmp_path, header())


def test_folders_are_searched_and_traces_left_alone(tmp_path: Path) -> None:
    """Loading a folder finds every run below it and takes no trace file for one."""
    written(tmp_path)
    (tmp_path / "box" / "run-1.trace.jsonl").write_text("{}\n")
    assert [loaded.run.run_id for loaded in load_results([tmp_path])] == ["run-1"]


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    """A path that does not exist is an error, not an empty result."""
    with pytest.raises(RecordError, match="nowhere"):
        load_results([tmp_path / "nowhere"])


@pytest.mark.parametrize("kept", [1, 2, 4])
def test_resuming_loses_no_complete_line_that_lacks_its_line_end(tmp_path: Path, kept: int) -> None:
    """A whole last line without its line end stays, and what follows begins a line of its own."""
    path = written(tmp_path)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join(lines[:kept]))
    with RunWriter.resume(path) as writer:
        writer.append(skipped(9))
    assert [record.record_id for record in load_run(path).records] == [*(f"r{n}" for n in range(1, kept)), "r9"]


def test_a_folder_is_searched_for_regular_files_only(tmp_path: Path) -> None:
    """A pipe named like a results file would be waited for without end."""
    path = written(tmp_path)
    os.mkfifo(path.with_name("pipe.jsonl"))
    path.with_name("folder.jsonl").mkdir()
    assert [loaded.path for loaded in load_results([tmp_path])] == [path]


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("harness/bare-loop/mlp", ("bare-loop/mlp", "harness")),
        ("fused-norm/legacy/resnet50", ("resnet50", "rival")),
        ("fused-norm/resnet14-64px", ("fused-norm/resnet14-64px", "result")),
    ],
)
def test_a_record_that_carried_its_purpose_in_its_group_keeps_it(
    tmp_path: Path, group: str, expected: tuple[str, str]
) -> None:
    """Files of before records had a purpose load with it, and with the group's plain name."""
    with RunWriter(tmp_path, header()) as writer:
        writer.append(msgspec.structs.replace(skipped(1), group=group))
    (record,) = load_run(writer.path).records
    assert isinstance(record, CaseRecord)
    assert (record.group, record.purpose) == expected


def test_an_old_observation_of_the_recorders_cost_is_a_check(tmp_path: Path) -> None:
    """It had no group to carry its purpose in, and stood among the results."""
    cost = Observation(
        record_id="o1",
        run_id="run-1",
        topic="overhead",
        metric="recorder_core_ratio",
        values=(0.01,),
        replicate="run",
        finished_at="2026-01-01T00:00:00+00:00",
    )
    with RunWriter(tmp_path, header()) as writer:
        writer.append(cost)
        writer.append(msgspec.structs.replace(cost, record_id="o2", topic="ceiling"))
    loaded = load_run(writer.path)
    assert [record.record_id for record in loaded.of_kind(Observation)] == ["o2"]
    assert [record.record_id for record in loaded.meant_for("harness")] == ["o1"]
