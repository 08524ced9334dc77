"""The gate on real git repositories, real worker processes and very short blocks."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from rtxbench.errors import MeasurementError, UsageError
from rtxbench.gate import runner
from rtxbench.gate.launching import GATE_PROFILES
from rtxbench.gate.outcome import GateReport
from rtxbench.gate.settings import Asked
from rtxbench.records import Observation
from rtxbench.results.store import load_results
from tests.waiting import HANG_S, gone, wait_until

PROJECT = Path(__file__).parents[2]
SPENT = "0.001s"
"""Time for one launch, which is always made, on any machine."""
SLEEPING = """
import time
def case():
    def step():
        time.sleep({step_s})
        return 1.0
    return step
"""
NUMPY = """
import numpy as np
def case():
    weights = np.random.default_rng(0).normal(size=(64, 64))
    def step():
        x = weights
        for _ in range(8):
            x = np.tanh(x @ weights)
        return float(x.sum())
    return step
"""


def git(folder: Path, *arguments: str) -> str:
    """Run git as a fixed author."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(folder: Path, source: str, message: str = "change") -> str:
    """Write ``train.py`` and commit it."""
    (folder / "train.py").write_text(source)
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty repository."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    return folder


def request(
    folder: Path, baseline: str, cases: tuple[str, ...] = ("train:case",), budget: str | None = None, **changes: object
) -> runner.GateRequest:
    """A request with blocks of milliseconds and its outputs beside the repository."""
    beside = folder.parent
    plain = runner.GateRequest(
        baseline=baseline,
        asked=Asked(cases=cases, budget=budget),
        results_dir=beside / "out",
        json_path=beside / "gate.json",
        markdown_path=beside / "gate.md",
        profile=GATE_PROFILES["smoke"],
        record_hardware=False,
    )
    return plain._replace(**changes)


def report(folder: Path) -> GateReport:
    """The JSON the gate wrote."""
    return msgspec.json.decode((folder.parent / "gate.json").read_bytes(), type=GateReport)


def launches(folder: Path) -> list[Observation]:
    """Every launch on record."""
    runs = load_results([folder.parent / "out"])
    return [record for run in runs for record in run.of_kind(Observation) if record.topic == "gate-launch"]


def assert_no_trees_left(folder: Path) -> None:
    """Only the repository itself is checked out, for git and on disk."""
    assert git(folder, "worktree", "list").count("\n") == 0


def test_unchanged_code_is_never_a_regression(repository: Path) -> None:
    """A numpy step against itself: no regression, every launch on record, summary written, work tree gone."""
    commit(repository, NUMPY)
    code = runner.gate(request(repository, "HEAD"), repository)
    outcome = report(repository)
    assert code == outcome.exit_code
    assert code in (0, 6)
    assert outcome.cases[0].launches == len(launches(repository)) >= 3
    assert "Throughput gate" in (repository.parent / "gate.md").read_text()
    assert_no_trees_left(repository)


def test_slower_candidate_is_a_regression(repository: Path) -> None:
    """A step that takes twice as long fails after a few launches, and the ratio is about 2."""
    commit(repository, SLEEPING.format(step_s=0.01))
    commit(repository, SLEEPING.format(step_s=0.02))
    code = runner.gate(request(repository, "HEAD~1", candidate="HEAD"), repository)
    case = report(repository).cases[0]
    assert (code, case.outcome) == (1, "regression")
    assert case.launches <= 6
    assert case.step_time_ratio is not None
    assert 1.5 < case.step_time_ratio.value < 2.5


def test_merge_base_and_subfolder(repository: Path) -> None:
    """``A...B`` gates against the merge base, and a project in a subfolder is found in the work tree."""
    inner = repository / "package"
    inner.mkdir()
    base = commit(inner, SLEEPING.format(step_s=0.002))
    git(repository, "checkout", "--quiet", "-b", "topic")
    commit(inner, SLEEPING.format(step_s=0.002) + "# changed\n")
    wanted = request(inner, "main...topic", budget=SPENT)
    assert runner.gate(wanted, inner) in (0, 6)
    assert base[:10] in report(inner).baseline


def test_unknown_revision(repository: Path) -> None:
    """A revision git does not know is a usage error that says how to find one."""
    commit(repository, NUMPY)
    with pytest.raises(UsageError, match="neither a folder nor a revision") as caught:
        runner.gate(request(repository, "no-such-branch"), repository)
    assert "git branch" in caught.value.next_step
    assert report(repository).exit_code == 2


def test_shallow_clone_is_named_as_the_cause(repository: Path, tmp_path: Path) -> None:
    """In a shallow clone, CI's default, the message says to fetch the history."""
    commit(repository, NUMPY)
    commit(repository, NUMPY + "#\n")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{repository}", str(clone))
    with pytest.raises(UsageError, match="shallow"):
        runner.gate(request(clone, "HEAD~1"), clone)


def test_dirty_tree_is_measured_and_named(repository: Path) -> None:
    """The folder as it is may differ from its commit; the outcome says so."""
    commit(repository, SLEEPING.format(step_s=0.002))
    (repository / "train.py").write_text(SLEEPING.format(step_s=0.01))
    assert runner.gate(request(repository, "HEAD"), repository) == 1
    assert "uncommitted changes" in report(repository).candidate


def test_gating_a_commit_beside_uncommitted_changes_warns(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Naming HEAD while the folder is dirty measures the commit, with a caution."""
    commit(repository, SLEEPING.format(step_s=0.002))
    (repository / "train.py").write_text("raise SystemExit('never imported')")
    assert runner.gate(request(repository, "HEAD", candidate="HEAD", budget=SPENT), repository) == 6
    assert "not part of HEAD" in capsys.readouterr().err


def test_candidate_that_does_not_import(repository: Path) -> None:
    """The error names the arm, the exception and the line; the summary shows it; the work tree is gone."""
    commit(repository, NUMPY)
    commit(repository, "import numpy\nimport no_such_module\n")
    with pytest.raises(MeasurementError, match=r"candidate: train:case.*no_such_module.*train\.py:2"):
        runner.gate(request(repository, "HEAD~1", candidate="HEAD"), repository)
    assert report(repository).outcome == "error"
    assert "no_such_module" in (repository.parent / "gate.md").read_text()
    assert_no_trees_left(repository)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def other(): pass\n", "has no attribute 'case'"),
        ("def case(): return 7\n", "returned int; it must return a callable"),
        ("def case():\n    def step(): raise ValueError('boom')\n    return step\n", "ValueError: boom"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
        ("import os\ndef case(): os._exit(5)\n", "exit status 5"),
    ],
)
def test_broken_cases_are_explained(repository: Path, source: str, message: str) -> None:
    """Whatever a case does instead of returning a step, the message says it."""
    commit(repository, source)
    with pytest.raises(MeasurementError, match=message):
        runner.gate(request(repository, "HEAD"), repository)


def test_case_that_only_the_candidate_has(repository: Path) -> None:
    """A case the baseline does not know yet is explained, not measured against nothing."""
    commit(repository, "")
    commit(repository, NUMPY)
    with pytest.raises(MeasurementError, match=r"baseline: train:case") as caught:
        runner.gate(request(repository, "HEAD~1", candidate="HEAD"), repository)
    assert "once the baseline has it" in caught.value.next_step


def test_hardware_is_recorded_beside_the_launches(repository: Path) -> None:
    """With the recorder on, the trace lies beside the records and its flags are on each launch."""
    commit(repository, SLEEPING.format(step_s=0.002))
    assert runner.gate(request(repository, "HEAD", record_hardware=True, budget=SPENT), repository) == 6
    (trace,) = (repository.parent / "out").rglob("*.trace.jsonl")
    assert '"kind":"end"' in trace.read_text()
    assert all(flag.severity == "warn" for launch in launches(repository) for flag in launch.flags)


def test_crash_in_launch_four_keeps_the_first_three(repository: Path) -> None:
    """The candidate dies at its fourth start: exit by error, three launches on record, summary written."""
    uneven = """
import os, pathlib, time
counter = pathlib.Path({counter!r})
def case():
    number = len(counter.read_text()) + 1 if counter.exists() else 1
    counter.write_text("x" * number)
    if number == 4:
        os.kill(os.getpid(), 9)
    def step():
        time.sleep(0.002 if number % 2 else 0.004)
    return step
"""
    commit(repository, SLEEPING.format(step_s=0.003))
    commit(repository, uneven.format(counter=str(repository.parent / "count")))
    with pytest.raises(MeasurementError, match=r"candidate: train:case, launch 4: .*killed"):
        runner.gate(request(repository, "HEAD~1", candidate="HEAD"), repository)
    assert [record.labels["launch"] for record in launches(repository)] == ["1", "2", "3"]
    assert report(repository).exit_code == 4
    assert_no_trees_left(repository)


def test_importing_the_other_arm_is_refused(repository: Path) -> None:
    """A baseline that imports the candidate's files would compare the candidate with itself."""
    crooked = f"import sys\nsys.path.insert(0, {str(repository)!r})\nfrom other import case\n"
    (repository / "other.py").write_text(NUMPY)
    commit(repository, crooked)
    with pytest.raises(MeasurementError, match=r"baseline.*code of the other arm was imported: other"):
        runner.gate(request(repository, "HEAD"), repository)


def test_caller_pythonpath_does_not_reach_the_arms(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's PYTHONPATH could replace one arm's code by the other's, so the arms never see it."""
    monkeypatch.setenv("PYTHONPATH", str(repository.parent / "elsewhere"))
    checking = "import sys\nassert not any('elsewhere' in path for path in sys.path)\n" + SLEEPING.format(step_s=0.002)
    commit(repository, checking)
    assert runner.gate(request(repository, "HEAD", budget=SPENT), repository) == 6


def test_editing_the_folder_meanwhile_is_refused(repository: Path) -> None:
    """A folder that changes while it is measured gives no outcome."""
    editing = "import pathlib\npathlib.Path(__file__).open('a').write('#')\n" + SLEEPING.format(step_s=0.002)
    commit(repository, editing)
    with pytest.raises(MeasurementError, match="changed while it was being measured"):
        runner.gate(request(repository, "HEAD", budget=SPENT), repository)


def test_settings_of_the_project_itself(repository: Path) -> None:
    """A tree may name cases and a stricter margin than 5 %, not a laxer one; an unknown key is refused."""
    table = '[tool.rtxbench.gate]\ncases = ["train:case"]\nmargin = "{}"\n'
    commit(repository, SLEEPING.format(step_s=0.002))
    for asked, granted in (("50%", 0.05), ("2%", 0.02)):
        (repository / "pyproject.toml").write_text(table.format(asked))
        assert runner.gate(request(repository, "HEAD", cases=(), budget=SPENT), repository) == 6
        assert report(repository).margin_ratio == granted
        assert any("50 %" in note for note in report(repository).notes) is (asked == "50%")
    (repository / "pyproject.toml").write_text("[tool.rtxbench.gate]\nmargins = []\n")
    with pytest.raises(UsageError, match="margins"):
        runner.gate(request(repository, "HEAD"), repository)


def test_history_grows_by_one_line_a_gate(repository: Path) -> None:
    """Each gate adds one record per case to one file, which stays a valid results file."""
    commit(repository, SLEEPING.format(step_s=0.002))
    for _ in range(2):
        runner.gate(request(repository, "HEAD", history=True, budget=SPENT), repository)
    (path,) = (repository.parent / "out").glob("*/gate-history.jsonl")
    (run,) = load_results([path])
    assert [record.metric for record in run.of_kind(Observation)] == ["log_ratio", "log_ratio"]


def test_spent_budget_is_inconclusive(repository: Path) -> None:
    """When time runs out before a decision, the gate says that it cannot say."""
    commit(repository, SLEEPING.format(step_s=0.002))
    assert runner.gate(request(repository, "HEAD", budget=SPENT), repository) == 6
    assert report(repository).cases[0].reason == "budget-spent"


def test_arms_with_other_dependencies_get_environments_of_their_own(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commits whose requirements differ run in two environments, which the next gate finds again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(repository.parent / "cache"))
    telling = "import sys, pathlib\npathlib.Path({where!r}).open('a').write(sys.prefix + chr(10))\n"
    source = telling.format(where=str(repository.parent / "prefixes")) + SLEEPING.format(step_s=0.002)
    (repository / "requirements.txt").write_text("# nothing\n")
    commit(repository, source)
    (repository / "requirements.txt").write_text("# nothing either\n")
    commit(repository, source)
    assert runner.gate(request(repository, "HEAD~1", candidate="HEAD", budget=SPENT), repository) == 6
    used = set((repository.parent / "prefixes").read_text().split())
    environments = repository.parent / "cache" / "rtxbench" / "environments"
    assert {Path(prefix).parent for prefix in used} == {environments}
    assert len(used) == 2
    before = {path: (path / "rtxbench-ready.json").stat().st_mtime_ns for path in map(Path, used)}
    runner.gate(request(repository, "HEAD~1", candidate="HEAD", budget=SPENT), repository)
    assert before == {path: (path / "rtxbench-ready.json").stat().st_mtime_ns for path in map(Path, used)}


GROWING = """
import time
def case():
    memory = bytearray(b"x" * ({mebibytes} * 2**20))
    first = [{first_s}]
    def step():
        time.sleep(first.pop() if first else 0.002)
        return float(memory[-1])
    return step
"""
"""A step that needs so much memory and takes so long at its first call."""


@pytest.mark.parametrize(
    ("mebibytes", "first_s", "culprit"), [(67.2, 0.2, "peak memory"), (64, 0.3, "first step"), (64, 0.2, None)]
)
def test_more_memory_or_a_longer_first_step_fails(
    repository: Path, mebibytes: float, first_s: float, culprit: str | None
) -> None:
    """In real processes: five per cent more memory, or half as long again to the first step, is a regression."""
    commit(repository, GROWING.format(mebibytes=64, first_s=0.2))
    commit(repository, GROWING.replace("{mebibytes} * 2**20", str(int(mebibytes * 2**20))).format(first_s=first_s))
    wanted = request(repository, "HEAD~1", candidate="HEAD")
    # A sleep's blocks of milliseconds say nothing of step time on a busy machine: that is not what is asked here.
    runner.gate(wanted._replace(asked=wanted.asked._replace(margins=("50%",))), repository)
    found = {one.name: one.outcome for one in report(repository).cases[0].quantities}
    assert set(found) == {"step time", "peak memory", "first step"}
    assert [name for name in ("peak memory", "first step") if found[name] == "regression"] == (
        [culprit] if culprit else []
    )


def test_daemons_of_a_step_end_with_the_launch(repository: Path) -> None:
    """A process that the step starts, also one that leaves its process group, is gone when the gate is."""
    marker = repository.parent / "daemons"
    source = (
        "import subprocess\nfor new in (False, True):\n"
        "    child = subprocess.Popen(['sleep', '86400'], start_new_session=new)\n"
        f"    open({str(marker)!r}, 'a').write(f'{{child.pid}}\\n')\n"
    )
    commit(repository, source + SLEEPING.format(step_s=0.002))
    assert runner.gate(request(repository, "HEAD", budget=SPENT), repository) == 6
    pids = [int(line) for line in marker.read_text().split()]
    assert len(pids) == 4
    try:
        wait_until(lambda: all(map(gone, pids)), "the end of the daemons")
    finally:
        for pid in pids:
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)


def test_a_module_of_the_tree_does_not_shadow_the_worker_s_own(repository: Path) -> None:
    """A json.py beside the step is no part of the worker's protocol."""
    for name in ("json", "traceback", "math"):
        (repository / f"{name}.py").write_text("raise SystemExit('shadowed')\n")
    commit(repository, SLEEPING.format(step_s=0.002))
    assert runner.gate(request(repository, "HEAD", budget=SPENT), repository) == 6


def test_workflow_commands_of_a_step_stay_text(repository: Path) -> None:
    """No line on the terminal or in the summary begins with ``::``, whatever the step prints or raises."""
    hostile = "print('::set-output name=x::y')\ndef case():\n    raise ValueError('a\\n::set-output name=x::y')\n"
    commit(repository, hostile)
    process = start(repository, "--baseline", "HEAD", "--results", str(repository.parent / "out"),
                    "--markdown", str(repository.parent / "gate.md"))  # fmt: skip
    stdout, stderr = process.communicate(timeout=HANG_S)
    assert process.returncode == 4
    shown = stdout + stderr + (repository.parent / "gate.md").read_text()
    assert "set-output" in shown
    assert not [line for line in shown.splitlines() if line.strip().startswith("::")]


def test_an_ascii_terminal_loses_no_verdict(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the terminal cannot show the table, exit code, JSON and summary are those of the gate."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    commit(repository, SLEEPING.format(step_s=0.002))
    out = repository.parent
    process = start(repository, "--baseline", "HEAD", "--budget", SPENT, "--results", str(out / "out"),
                    "--json", str(out / "gate.json"))  # fmt: skip
    _stdout, stderr = process.communicate(timeout=HANG_S)
    assert process.returncode == 6, stderr
    assert report(repository).outcome == "inconclusive"


def start(folder: Path, *options: str, prelude: str = "") -> "subprocess.Popen[str]":
    """The command line in a process of its own."""
    program = f"{prelude}\nfrom rtxbench.cli import main\nmain()"
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            program,
            "gate",
            "--profile",
            "smoke",
            "--cases",
            "train:case",
            "--no-recorder",
            *options,
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_full_disk_keeps_what_was_written(repository: Path) -> None:
    """The results file may not grow past its second launch: exit 4, the file named, whole launches readable."""
    commit(repository, SLEEPING.format(step_s=0.002))
    free = repository.parent / "free"
    start(repository, "--baseline", "HEAD", "--results", str(free)).communicate(timeout=HANG_S)
    (unlimited,) = free.rglob("*.jsonl")
    header, first, second, *_ = unlimited.read_bytes().splitlines(keepends=True)
    most = len(header) + len(first) + len(second) // 2
    out = repository.parent / "out"
    limit = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))"
    process = start(repository, "--baseline", "HEAD", "--results", str(out), prelude=limit)
    _stdout, stderr = process.communicate(timeout=HANG_S)
    assert process.returncode == 4, stderr
    assert "cannot write" in stderr
    assert "Free some disk space" in stderr
    assert len(launches(repository)) >= 1
    assert_no_trees_left(repository)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interruption_cleans_up_and_keeps_launches(repository: Path, number: signal.Signals) -> None:
    """Ctrl-C, CI's cancellation and a closed terminal: exit 130 (never 1), launches kept, nothing left."""
    marker = repository.parent / "workers"
    source = f"import os, pathlib\npathlib.Path({str(marker)!r}).open('a').write(str(os.getpid()) + chr(10))\n"
    commit(repository, source + SLEEPING.format(step_s=0.002))
    out = repository.parent / "out"
    process = start(repository, "--baseline", "HEAD", "--margin", "0.5%", "--results", str(out))
    assert process.stderr is not None
    for line in process.stderr:
        if "launch 1 " in line:
            break
    process.send_signal(number)
    _stdout, _stderr = process.communicate(timeout=HANG_S)
    assert process.returncode == 130
    assert len(launches(repository)) >= 1
    assert_no_trees_left(repository)
    for pid in map(int, marker.read_text().split()):
        wait_until(lambda pid=pid: gone(pid), "the end of the workers")


def test_abandoned_trees_are_removed_by_the_next_gate(repository: Path) -> None:
    """A gate that was killed outright leaves a work tree; the next gate removes it."""
    commit(repository, SLEEPING.format(step_s=0.002))
    process = start(repository, "--baseline", "HEAD", "--margin", "0.5%", "--results", str(repository.parent / "out"))
    assert process.stderr is not None
    for line in process.stderr:
        if "launch 1 " in line:
            break
    process.kill()
    process.communicate()
    assert git(repository, "worktree", "list").count("\n") == 1
    runner.gate(request(repository, "HEAD", budget=SPENT), repository)
    assert_no_trees_left(repository)


def test_exit_code_of_a_usage_error() -> None:
    """The command line turns a deliberate error into its exit code and one line."""
    process = start(PROJECT, "--baseline", "HEAD", "--margin", "lots")
    _stdout, stderr = process.communicate(timeout=HANG_S)
    assert process.returncode == 2
    assert "'lots' is no margin" in stderr


def test_gate_needs_only_a_light_installation() -> None:
    """What docs/ci.md says to install is enough: the gate imports no engine, no pandas, no matplotlib, no pytest."""
    program = "import sys, rtxbench.cli, rtxbench.gate.runner, rich.table; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {"tensorflow", "keras", "jax", "torch", "pandas", "matplotlib", "pytest", "ruptures", "jinja2"}
    assert not heavy & set(result.stdout.split())


@pytest.mark.parametrize("command", [["rtxbench", "gate"], ["rtxbench.report"]])
def test_a_module_of_the_working_folder_does_not_shadow_the_coordinator_s(tmp_path: Path, command: list[str]) -> None:
    """``python -m rtxbench`` and the report alone, in a folder with its own msgspec.py and pathlib.py, run neither."""
    for name in ("msgspec", "pathlib", "typer"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')\n")
    result = subprocess.run(
        [sys.executable, "-m", *command, "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
