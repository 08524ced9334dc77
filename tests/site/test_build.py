"""The site is whole, rewrites only what changed, and what strangers wrote stays text."""

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")

from rtxbench.errors import RecordError, UsageError
from rtxbench.results.tables import export
from rtxbench.robustness.mutants import mutant
from rtxbench.robustness.payloads import PAYLOADS, free_places, poisoned, sample_lines
from rtxbench.site import aggregates, search
from rtxbench.site.build import build_site
from rtxbench.site.names import address
from rtxbench.site.page import Page
from tests.site.fleets import MACHINES, built, write_fleet

LARGEST_PAGE_BYTES = 300_000


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results, tables and site of a made-up fleet; tests that change it work on a copy."""
    folder = tmp_path_factory.mktemp("fleet")
    built(write_fleet(folder / "results"), folder / "site")
    return folder


@pytest.fixture
def copy(fleet: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fleet, tmp_path / "fleet"))


def pages(site: Path) -> dict[str, str]:
    return {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}


def test_every_link_of_every_page_leads_somewhere(fleet: Path) -> None:
    """No page leads to one that was not written, and every section that is linked to is there."""
    site = fleet / "site"
    found = pages(site)
    assert len(found) > MACHINES
    for name, text in found.items():
        for link in re.findall(r'href="([^"]+)"', text):
            target, _, part = link.partition("#")
            if target != "data:,":
                path = ((site / name).parent / target).resolve() if target else site / name
                assert path.is_file(), f"{name}: {link}"
                assert not part or f'id="{part}"' in path.read_text(encoding="utf-8"), f"{name}: {link}"


def test_a_card_s_page_says_how_fast_it_is_how_machines_differ_and_what_is_like_it(fleet: Path) -> None:
    """The figure, the spread over its four machines, and the two other cards relative to it."""
    page = (fleet / "site" / address("card", "GeForce RTX 3090")).read_text(encoding="utf-8")
    assert "measured on 4 machines" in page
    assert "Between machines" in page
    like = page[page.index('id="like"') : page.index('id="spread"')]
    assert "GeForce RTX 4090" in like
    assert "RTX A6000" in like
    assert 'class="origin published"' in page  # and what others published, labelled so


def test_the_first_page_holds_an_index_and_the_one_script_its_policy_names(fleet: Path) -> None:
    """The search needs no second file, and no other page may run any script."""
    found = pages(fleet / "site")
    home = found.pop("index.html")
    (script,) = re.findall(r"<script>(.*?)</script>", home, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in home
    (index,) = re.findall(r'<script type="application/json" id="pages">(.*?)</script>', home, re.DOTALL)
    document = json.loads(index)
    assert {name for _, _, name in document["pages"]} >= {"geforce-rtx-3090", "resnet50", "made-up-00003"}
    for name, text in found.items():
        assert "<script" not in text, name
        assert "script-src" not in text, name
        assert "default-src 'none'" in text, name


def test_a_second_build_writes_nothing(copy: Path) -> None:
    """Unchanged results keep every page, file times included."""
    site = copy / "site"
    times = {path: path.stat().st_mtime_ns for path in site.rglob("*.html")}
    done = built(copy / "results", site)
    assert (done.written, done.kept, done.removed) == (0, len(times), 0)
    assert {path: path.stat().st_mtime_ns for path in site.rglob("*.html")} == times


def test_a_new_machine_rewrites_only_the_pages_it_is_on(copy: Path) -> None:
    """A machine with an RTX A6000 leaves the pages of machines with other cards as they were."""
    site, before = copy / "site", pages(copy / "site")
    source = next(p for p in (copy / "results").rglob("*.jsonl") if "RTX A6000" in p.read_text(encoding="utf-8"))
    target = copy / "results" / "made-up-99999" / "made-up-99999-000000.jsonl"
    target.parent.mkdir()
    target.write_text(source.read_text(encoding="utf-8").replace(source.parent.name, "made-up-99999"))
    done = built(copy / "results", site)
    after = pages(site)
    changed = {name for name in after if after[name] != before.get(name)}
    assert address("machine", "made-up-99999") in changed
    assert address("card", "RTX A6000") in changed
    others = {p.parent.name for p in (copy / "results").rglob("*.jsonl") if "RTX A6000" not in p.read_text("utf-8")}
    assert not changed & {address("machine", slug) for slug in others}
    assert done.written == len(changed)
    assert (done.kept, done.removed) == (len(after) - len(changed), 0)


def test_the_page_of_a_machine_that_left_goes(copy: Path) -> None:
    """Pages of what the results no longer hold are removed; a file of one's own beside them stays."""
    site = copy / "site"
    (site / "CNAME").write_text("example.org")
    shutil.rmtree(copy / "results" / "made-up-00003")
    assert built(copy / "results", site).removed == 1
    assert not (site / address("machine", "made-up-00003")).exists()
    assert (site / "CNAME").exists()


def test_a_page_that_was_changed_by_hand_is_written_anew(copy: Path) -> None:
    """The digest of the file counts besides that of its data."""
    page = copy / "site" / "spread.html"
    text = page.read_text(encoding="utf-8")
    page.write_text("", encoding="utf-8")
    assert built(copy / "results", copy / "site").written == 1
    assert page.read_text(encoding="utf-8") == text


def test_a_manifest_from_elsewhere_can_have_nothing_else_removed(copy: Path) -> None:
    """Names that no build writes are ignored, and a manifest that is none is said to be none."""
    manifest = copy / "site" / "site.json"
    document = json.loads(manifest.read_text())
    document["pages"] |= {"../results/x.html": ["", "", 0], "cards/../../keep.html": ["", "", 0]}
    manifest.write_text(json.dumps(document))
    (copy / "keep.html").write_text("mine")
    assert built(copy / "results", copy / "site").removed == 0
    assert (copy / "keep.html").exists()
    manifest.write_text("[]")
    with pytest.raises(UsageError, match="not what a build writes"):
        built(copy / "results", copy / "site")


def test_a_folder_with_other_things_is_left_alone(fleet: Path, tmp_path: Path) -> None:
    """No page is written into a folder that no build made."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(UsageError, match="holds other things"):
        build_site(fleet / "site.tables", tmp_path / "mine")


def test_no_page_is_heavy_and_search_says_what_it_left_out(fleet: Path) -> None:
    """Pages stay below 300 kB; an index that would grow beyond its limit keeps the pages with most records."""
    assert max(path.stat().st_size for path in (fleet / "site").rglob("*.html")) < LARGEST_PAGE_BYTES
    many = [
        Page(f"machines/machine-{n:05d}.html", None, lambda: pytest.fail("never made"), "machine", "A title", n)
        for n in range(20_000)
    ]
    index = search.index_of(many)
    kept = json.loads(index.data)["pages"]
    assert len(index.data) <= search.MOST_BYTES
    assert len(kept) + index.left_out == len(many)
    assert kept[0][2] == "machine-19999"


def test_code_in_any_text_of_a_submission_stays_text(tmp_path: Path) -> None:
    """A poisoned file is refused, or its payloads stand escaped on every page."""
    lines = sample_lines()
    free = free_places(lines)
    written = 0
    for number in range(3):
        data, _ = poisoned(lines, free, number, "http://listener.invalid")
        results = tmp_path / f"{number}"
        results.mkdir()
        (results / "file.jsonl").write_bytes(data)
        built(results, tmp_path / f"site-{number}")
        for name, text in pages(tmp_path / f"site-{number}").items():
            written += text.count("listener.invalid")
            markup = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
            tags = set(re.findall(r"<([a-z]+)", markup))
            assert not tags & {"img", "iframe", "object", "embed", "base", "form", "link rel=prefetch"}, name
            assert not re.search(r"\son\w+=", re.sub(r">[^<]*<", "><", markup)), name
            for payload in PAYLOADS:
                if "<" in payload:
                    assert payload.split("URL")[0] not in text, name
    assert written > 0


def test_only_what_most_machines_ran_has_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workloads of one machine alone give way to those of twelve, and nothing leads to a page that is not there."""
    results = write_fleet(tmp_path / "results")
    path = next(results.rglob("made-up-00000-000000.jsonl"))
    path.write_text(path.read_text(encoding="utf-8").replace("resnet50", "aaa"), encoding="utf-8")
    monkeypatch.setattr(aggregates, "MOST_WORKLOADS", 6)
    built(results, tmp_path / "site")
    names = {path.name for path in (tmp_path / "site" / "workloads").iterdir()}
    assert "resnet50.html" in names
    assert "aaa.html" not in names
    assert len(names) == 6
    assert not any("workloads/aaa.html" in text for text in pages(tmp_path / "site").values())


def test_a_name_of_a_megabyte_makes_no_heavy_page(tmp_path: Path) -> None:
    """A stranger's names are cut, and a thousand libraries are listed as far as a page holds them."""
    results = write_fleet(tmp_path / "results")
    path = next(results.rglob("made-up-00000-000000.jsonl"))
    lines = path.read_text(encoding="utf-8").replace("resnet50", "r" * 10**6).splitlines()
    header = json.loads(lines[0])
    header["environment"]["cpu"]["name"] = "c" * 10**6
    header["environment"]["gpus"][0]["name"] = "g" * 10**6
    header["environment"]["packages"] |= {f"{n}{'p' * 1000}": "v" * 1000 for n in range(1000)}
    path.write_text("\n".join([json.dumps(header), *lines[1:]]) + "\n", encoding="utf-8")
    assert built(results, tmp_path / "site").largest_bytes < LARGEST_PAGE_BYTES


def test_a_mutated_submission_is_refused_or_shown(tmp_path: Path) -> None:
    """Twelve mutants of a real file: a site, or a deliberate error; never a crash."""
    for number in range(12):
        results = tmp_path / f"{number}"
        results.mkdir()
        (results / "file.jsonl").write_bytes(mutant(sample_lines(), number))
        try:
            export([results], tmp_path / f"t{number}", strict=True)
            build_site(tmp_path / f"t{number}", tmp_path / f"s{number}")
        except RecordError:
            continue
        assert (tmp_path / f"s{number}" / "index.html").is_file()
