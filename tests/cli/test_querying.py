"""``rtxbench site``: what it says and how it ends."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rtxbench.cli import app
from tests.synthetic import LAPTOP, write_results

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")


def test_it_says_how_many_pages_were_written_and_where(tmp_path: Path) -> None:
    """One sentence a build; the tables beside the site make the second one short."""
    results = write_results(tmp_path / "results", (LAPTOP,), traces=False)
    arguments = ["site", str(results), "--out", str(tmp_path / "site")]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0, first.output
    assert f"0 kept, 0 removed. Open: {tmp_path / 'site' / 'index.html'}" in first.stdout
    second = CliRunner().invoke(app, [*arguments, "--json"])
    document = json.loads(second.stdout)
    assert (document["written"], document["removed"], document["unreadable"]) == (0, 0, [])
    from_tables = CliRunner().invoke(app, ["site", str(tmp_path / "site.tables"), "--out", str(tmp_path / "again")])
    assert from_tables.exit_code == 0
    assert (tmp_path / "again" / "index.html").read_bytes() == (tmp_path / "site" / "index.html").read_bytes()


def test_a_bad_file_is_left_out_and_named_or_stops_all(tmp_path: Path) -> None:
    """As a report does: exit code 5 and a site of the others; with --strict no page at all."""
    results = write_results(tmp_path / "results", (LAPTOP,), traces=False)
    (results / "bad.jsonl").write_text("{}\n")
    done = CliRunner().invoke(app, ["site", str(results), "--out", str(tmp_path / "site")])
    assert done.exit_code == 5
    assert "left out" in done.stderr
    assert (tmp_path / "site" / "index.html").exists()
    strict = CliRunner().invoke(app, ["site", str(results), "--out", str(tmp_path / "none"), "--strict"])
    assert strict.exit_code != 0
    assert not (tmp_path / "none").exists()
