"""What rtxbench is installed from is pinned, explained and checked."""

import re
import tomllib
from pathlib import Path

import yaml

PROJECT = Path(__file__).parents[2]
LOCK = (PROJECT / "bench.lock").read_text(encoding="utf-8")
TABLE = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!;~ ]", row)[0] for row in requirements if not row.startswith("rtxbench")}


def test_every_locked_version_has_hashes_and_no_address() -> None:
    """The lock pins what `tox -e bench` installs, whatever index it comes from."""
    blocks = re.split(r"\n(?=[a-z0-9])", "\n" + "\n".join(x for x in LOCK.splitlines() if not x.startswith("#")))
    assert len(blocks) > 50
    for block in filter(str.strip, blocks):
        assert re.match(r"\s*[a-z0-9._-]+==\S+", block), block[:80]
        assert "--hash=sha256:" in block, block[:80]
    assert "://" not in LOCK


def test_the_lock_holds_all_that_the_bench_needs() -> None:
    """A dependency added to pyproject.toml asks for a new lock."""
    extras = TABLE["optional-dependencies"]
    needed = names(TABLE["dependencies"] + extras["tensorflow"] + extras["keras"] + extras["pytest"])
    locked = set(re.findall(r"^([a-z0-9._-]+)==", LOCK, re.MULTILINE))
    assert {name.lower() for name in needed} <= locked


def test_every_dependency_has_its_reason() -> None:
    """A row of docs/dependencies.md for each, and none for what is no longer used."""
    text = (PROJECT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))
    extras = [row for rows in TABLE["optional-dependencies"].values() for row in rows]
    assert listed == names(TABLE["dependencies"] + extras)


def test_every_foreign_action_is_pinned_and_no_job_writes_without_need() -> None:
    """Each workflow starts from read rights, and names an action by its commit with the version beside it."""
    for path in sorted((PROJECT / ".github" / "workflows").glob("*.yml")):
        text = path.read_text(encoding="utf-8")
        foreign = re.findall(r"uses: ([\w-]+/\S+@.*)", text)
        assert all(re.fullmatch(r"\S+@[0-9a-f]{40} # v[\d.]+", one) for one in foreign), path.name
        assert text.count("uses: actions/checkout@") == text.count("persist-credentials: false"), path.name
        assert yaml.safe_load(text)["permissions"] == {"contents": "read"}, path.name


def test_a_release_is_audited_and_says_what_it_holds() -> None:
    """The release workflow asks for known vulnerabilities and publishes a bill of materials."""
    text = (PROJECT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    assert "pip-audit --strict" in text
    assert "sbom.cdx.json" in text


def test_the_four_pythons_and_the_lowest_versions_are_in_the_matrix() -> None:
    """The core's tests run on 3.11 to 3.14, and once with the lowest versions claimed."""
    jobs = yaml.safe_load((PROJECT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))["jobs"]
    matrix = jobs["core"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert {row["environment"] for row in matrix["include"]} == {"lowest"}
