"""The ready-made CI files, run as far as they can be without the service: real scripts, real gates, a tiny project."""

import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.test_gate import PROJECT, SLEEPING, SPENT, commit, git
from tests.synthetic import LAPTOP, write_results

ACTION = PROJECT / ".github" / "actions" / "gate"
DOCS = PROJECT / "docs" / "ci.md"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A clone with an origin, a base branch and a topic branch that is five times slower."""
    origin = tmp_path / "origin"
    origin.mkdir()
    git(origin, "init", "--quiet", "--initial-branch=main")
    (origin / "pyproject.toml").write_text('[tool.rtxbench.gate]\ncases = ["train:case"]\n')
    commit(origin, SLEEPING.format(step_s=0.002))
    folder = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(origin), str(folder))
    git(folder, "checkout", "--quiet", "-b", "topic")
    commit(folder, SLEEPING.format(step_s=0.01))
    return folder


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with an ``rtxbench`` command that runs this tree, in blocks of milliseconds."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "rtxbench"
    command.write_text(
        f"#!/bin/sh\nPYTHONPATH={PROJECT} exec {sys.executable} -c 'from rtxbench.cli import main; main()' \"$@\""
        " --profile smoke --no-recorder\n"
    )
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return folder


def run(script: str, folder: Path, tools: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run shell lines as a CI runner does."""
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", **variables}
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def action_run(folder: Path, tools: Path, **inputs: str) -> tuple[int, dict[str, str], str]:
    """Run the action's script with these inputs: (exit code, outputs, step summary)."""
    output, summary = tools / "output", tools / "summary"
    for path in (output, summary):
        path.write_text("")
    result = run(
        f"bash {ACTION / 'gate.sh'}",
        folder,
        tools,
        GITHUB_OUTPUT=str(output),
        GITHUB_STEP_SUMMARY=str(summary),
        **inputs,
    )
    outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    return result.returncode, outputs, summary.read_text()


def test_action_fails_a_slower_pull_request(project: Path, tools: Path) -> None:
    """Against the merge base of the pull request, five times slower is a regression with a summary."""
    code, outputs, summary = action_run(project, tools, GATE_BASE_REF="main")
    assert (code, outputs["outcome"], outputs["exit-code"]) == (1, "regression", "1")
    assert "origin/main...HEAD" in summary
    assert (project / outputs["markdown"]).is_file()


def test_action_passes_on_inconclusive_unless_told_otherwise(project: Path, tools: Path) -> None:
    """No time to decide is a warning by default and a failure when asked for."""
    inputs = {"GATE_BASE_REF": "main", "GATE_BUDGET": SPENT}
    assert action_run(project, tools, **inputs)[0] == 0
    code, outputs, _summary = action_run(project, tools, **inputs, GATE_ON_INCONCLUSIVE="fail")
    assert (code, outputs["outcome"]) == (6, "inconclusive")


def test_action_reports_errors_as_errors(project: Path, tools: Path) -> None:
    """A case that does not exist is neither a pass nor a regression, and the summary says why."""
    code, outputs, summary = action_run(project, tools, GATE_BASE_REF="main", GATE_CASES="train:absent\n")
    assert (code, outputs["outcome"]) == (4, "error")
    assert "absent" in summary


def test_broken_installation_is_not_a_regression(project: Path, tools: Path) -> None:
    """An rtxbench that crashes leaves with Python's exit code 1; the action reports an error."""
    (tools / "rtxbench").write_text("#!/bin/sh\nexit 1\n")
    code, outputs, _summary = action_run(project, tools, GATE_BASE_REF="main")
    assert (code, outputs["outcome"]) == (4, "error")


def test_action_does_not_run_code_in_names(project: Path, tools: Path) -> None:
    """A revision named after a command is a revision that does not exist."""
    hostile = "$(touch pwned)`touch pwned`"
    code, outputs, _summary = action_run(project, tools, GATE_BASELINE=hostile)
    assert (code, outputs["outcome"]) == (2, "error")
    assert not (project / "pwned").exists()


def recorded(folder: Path, tools: Path, **inputs: str) -> list[str]:
    """The arguments that the action's script hands to ``rtxbench``."""
    (tools / "rtxbench").write_text('#!/bin/sh\nprintf "%s\\n" "$@" > arguments\n')
    run(
        f"bash {ACTION / 'gate.sh'}",
        folder,
        tools,
        GITHUB_OUTPUT="/dev/null",
        GITHUB_STEP_SUMMARY="/dev/null",
        **inputs,
    )
    return (folder / "arguments").read_text().splitlines()


def test_the_first_push_of_a_branch_has_a_baseline(project: Path, tools: Path) -> None:
    """``before`` is forty zeros then: the merge base with the default branch is taken, without one HEAD~1."""
    zeros = "0" * 40
    with_default = recorded(project, tools, GATE_BEFORE=zeros, GATE_DEFAULT_BRANCH="main")
    assert "--baseline=origin/main...HEAD" in with_default
    assert "--baseline=HEAD~1" in recorded(project, tools, GATE_BEFORE=zeros)
    assert "--baseline=abc0" in recorded(project, tools, GATE_BEFORE="abc0", GATE_DEFAULT_BRANCH="main")


def test_every_line_of_the_options_counts(project: Path, tools: Path) -> None:
    """Options may stand on several lines, and none of them is expanded by the shell."""
    arguments = recorded(project, tools, GATE_OPTIONS="--no-install\n--extra train --evidence=500\n*\n")
    assert arguments[-5:] == ["--no-install", "--extra", "train", "--evidence=500", "*"]


def test_values_cannot_become_options(project: Path, tools: Path) -> None:
    """A revision or case that begins with a dash stays the value of its option."""
    arguments = recorded(project, tools, GATE_BASELINE="--help", GATE_CASES="--install\n")
    assert {"--baseline=--help", "--cases=--install"} <= set(arguments)


@pytest.mark.parametrize("options", ["--json x.json", "--json=x.json", "--no-install\n--markdown y"])
def test_json_among_the_options_is_refused(project: Path, tools: Path, options: str) -> None:
    """It once turned a regression into an error: the action looked for its own file and found none."""
    result = run(f"bash {ACTION / 'gate.sh'}", project, tools, GATE_OPTIONS=options)
    assert result.returncode == 2
    assert "cannot be among the options" in result.stderr


def test_the_runner_takes_no_command_from_the_gate_s_output(project: Path, tools: Path) -> None:
    """On the service, what the gate prints stands between stop-commands and its secret token."""
    (tools / "rtxbench").write_text("#!/bin/sh\necho ::set-output name=x::y\n")
    result = run(f"bash {ACTION / 'gate.sh'}", project, tools, GITHUB_ACTIONS="true")
    first, second, third, *_ = result.stdout.splitlines()
    assert first.startswith("::stop-commands::")
    assert second == "::set-output name=x::y"
    assert third == f"::{first.rpartition('::')[2]}::"
    assert len(first) > 40


def test_actions_are_pinned_and_keep_no_token() -> None:
    """Every foreign action is named by its commit, checkout keeps no credentials, and no index supplies rtxbench."""
    files = [
        ACTION / "action.yml",
        *((PROJECT / ".github" / "workflows" / f"{name}.yml") for name in ("gate", "tests")),
    ]
    texts = [path.read_text() for path in files] + [DOCS.read_text()]
    for text in texts:
        used = re.findall(r"uses: ([\w./-]+)@(\S+)", text)
        assert all(re.fullmatch("[0-9a-f]{40}", commit) for name, commit in used if name.startswith("actions/"))
        assert not re.search(r"pip install ([^\n]* )?rtxbench(\s|$)", text)
        assert text.count("uses: actions/checkout@") == text.count("persist-credentials: false")
    action = loaded(files[0])
    assert "job-index" in action["inputs"]["artifact"]["default"]


def loaded(path: Path) -> dict[Any, Any]:
    """A YAML file; YAML 1.1 reads the key ``on`` as true."""
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, dict)
    return content


def test_action_declares_what_its_script_reads() -> None:
    """Every variable of the script is set by the action, every input is used, no input is pasted into a script."""
    action = loaded(ACTION / "action.yml")
    assert action["runs"]["using"] == "composite"
    steps = action["runs"]["steps"]
    (gate,) = (step for step in steps if step.get("id") == "gate")
    script = (ACTION / "gate.sh").read_text()
    assert set(re.findall(r"GATE_[A-Z_]+", script)) - {"GATE_"} == set(gate["env"])
    used = set(re.findall(r"inputs\.([\w-]+)", (ACTION / "action.yml").read_text()))
    assert used == set(action["inputs"])
    assert not any("${{" in step.get("run", "") for step in steps)


def test_a_workflow_runs_every_tox_environment_that_checks_something() -> None:
    """An environment that no workflow runs decays unseen; measuring, recording and writing a report check nothing."""
    written = (PROJECT / "tox.ini").read_text()
    environments = set(re.findall(r"^\[testenv:(.+)\]", written, re.MULTILINE))
    environments -= {"bench", "bench-cuda", "programs", "report"}
    run = set()
    for path in (PROJECT / ".github" / "workflows").glob("*.yml"):
        for job in loaded(path)["jobs"].values():
            matrix = job.get("strategy", {}).get("matrix", {})
            named = [*matrix.get("environment", []), *(row["environment"] for row in matrix.get("include", []))]
            commands = " ".join(step.get("run", "") for step in job["steps"])
            run |= {*named, *re.findall(r"tox -e ([\w-]+)", commands)}
    assert run == environments


def test_the_project_gates_itself() -> None:
    """The workflow uses the action with inputs it has, with the full history, on cases that exist."""
    workflow = loaded(PROJECT / ".github" / "workflows" / "gate.yml")
    steps = workflow["jobs"]["gate"]["steps"]
    assert steps[0]["with"]["fetch-depth"] == 0
    (gate,) = (step for step in steps if step.get("uses") == "./.github/actions/gate")
    assert set(gate["with"]) <= set(loaded(ACTION / "action.yml")["inputs"])
    table = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["rtxbench"]["gate"]
    for case in table["cases"]:
        module, _, function = case.partition(":")
        step = getattr(__import__(module, fromlist=[function]), function)()
        assert isinstance(step(), float)


def documented(language: str, having: str) -> str:
    """The one code block of the page in that language that has the text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (block,) = (block for block in blocks if having in block)
    return str(block)


def test_documented_workflow_fits_the_action() -> None:
    """The example to copy names inputs the action has and fetches the history."""
    workflow = yaml.safe_load(documented("yaml", "runs-on"))
    steps = workflow["jobs"]["gate"]["steps"]
    assert steps[0]["with"]["fetch-depth"] == 0
    assert set(steps[-1]["with"]) <= set(loaded(ACTION / "action.yml")["inputs"])


def test_documented_gitlab_job_runs(project: Path, tools: Path) -> None:
    """The GitLab job's script, run here on a tiny project, fails the slower branch and leaves its artifacts."""
    job = yaml.safe_load(documented("yaml", "CI_MERGE_REQUEST_DIFF_BASE_SHA"))["throughput-gate"]
    script = "\n".join(line for line in job["script"] if "pip install" not in line)
    base = git(project, "rev-parse", "origin/main")
    result = run(script, project, tools, CI_MERGE_REQUEST_DIFF_BASE_SHA=base, CI_PROJECT_DIR=str(project))
    assert result.returncode == 1, result.stderr
    for path in job["artifacts"]["paths"]:
        assert (project / path).exists()
    assert job["allow_failure"]["exit_codes"] == [6]


def test_a_submission_is_read_by_the_base_s_program_and_nothing_of_it_is_run() -> None:
    """The job has a reader's rights, no secret, and installs from the base; of the submission it has results."""
    workflow = loaded(PROJECT / ".github" / "workflows" / "submissions.yml")
    assert set(workflow[True]) == {"pull_request"}  # never pull_request_target, which runs with the base's secrets
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    assert "permissions" not in job
    program, submission, *_ = (step["with"] for step in job["steps"] if "checkout" in step.get("uses", ""))
    assert program["ref"] == "${{ github.event.pull_request.base.sha }}"
    assert submission["sparse-checkout"] == "results"
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands[0] == 'python -m pip install "./program[query]"'
    assert all(command.startswith("rtxbench ") and "${{" not in command for command in commands[1:])


@pytest.mark.parametrize(("line", "codes"), [("", [0, 0]), ('{"type": "case"}\n', [5]), ("\x00\n", [5])])
def test_the_check_of_a_submission_accepts_results_and_refuses_what_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, codes: list[int]
) -> None:
    """The commands of the workflow, carried out on a good file and on one with a bad line."""
    pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    results = write_results(tmp_path / "submission" / "results", (LAPTOP,), traces=False)
    with next(results.rglob("*.jsonl")).open("a") as stream:
        stream.write(line)
    monkeypatch.chdir(tmp_path)
    (job,) = loaded(PROJECT / ".github" / "workflows" / "submissions.yml")["jobs"].values()
    commands = [step["run"].split()[1:] for step in job["steps"] if step.get("run", "").startswith("rtxbench ")]
    got = []
    for command in commands:
        done = subprocess.run([sys.executable, "-m", "rtxbench", *command], capture_output=True, text=True, check=False)
        got.append(done.returncode)
        if done.returncode:
            assert "Traceback" not in done.stderr
            break
    assert got == codes
    assert (tmp_path / "site" / "index.html").exists() == (codes == [0, 0])


def test_the_site_is_published_every_night_and_never_from_a_pull_request() -> None:
    """Deploying needs the rights of Pages alone, in its own job, and results come from where the variable says."""
    workflow = loaded(PROJECT / ".github" / "workflows" / "pages.yml")
    assert workflow[True]["schedule"][0]["cron"]
    site, deploy = workflow["jobs"]["site"], workflow["jobs"]["deploy"]
    assert deploy["if"] == "github.event_name != 'pull_request'"
    assert deploy["permissions"] == {"pages": "write", "id-token": "write"}
    assert "permissions" not in site
    community = [step["with"] for step in site["steps"] if "repository" in step.get("with", {})]
    assert [one["repository"] for one in community] == ["${{ vars.RESULTS_REPOSITORY || github.repository }}"]
    assert community[0]["sparse-checkout"] == "results"
