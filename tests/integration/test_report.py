"""From results files to a report: what is written, what is refused, and what a browser makes of it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from rtxbench.errors import RecordError, UsageError
from rtxbench.records import CaseRecord, Cpu, Environment, Flag, Gpu
from rtxbench.report.parts import ViewPlan
from rtxbench.report.render.html import render_html
from rtxbench.report.render.output import Report, build_context, load_runs, make_views, write_report
from rtxbench.report.render.text import render_markdown
from rtxbench.report.sections.answers.summary import answers_section
from rtxbench.report.sections.appendix.guide import guide_section
from rtxbench.report.sections.appendix.inventory import machines_section, runs_section, unmeasured_section
from rtxbench.report.sections.appendix.throughput import throughput_section
from rtxbench.report.sections.appendix.timeline import timeline_section
from rtxbench.report.sections.evidence.ratios import ratios_section
from rtxbench.report.sections.evidence.verdicts import verdicts_section
from rtxbench.report.sections.table import SECTIONS
from rtxbench.results.store import RunWriter
from tests.synthetic import BIG_GPU, CPU_ONLY, run_header, write_results
from tests.synthetic_report import CLAIMS, context_of
from tests.waiting import HANG_S

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parents[1] / "golden"
BROWSERS = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
CORE_SECTIONS = (
    answers_section,
    verdicts_section,
    ratios_section,
    throughput_section,
    timeline_section,
    unmeasured_section,
    machines_section,
    runs_section,
    guide_section,
)
"""The sections that every report has; the others have tests of their own."""
CORE = (
    ViewPlan(id="answers", title="Answers", sections=CORE_SECTIONS[:1]),
    ViewPlan(id="evidence", title="Evidence", sections=CORE_SECTIONS[1:]),
)


def browser() -> str | None:
    """A Chromium that can open the test's files: a snap may not read them, and Ubuntu's stub may be all there is."""
    for path in filter(None, map(shutil.which, BROWSERS)):
        if "snap" not in Path(path).resolve().as_posix() and b"/snap/" not in Path(path).read_bytes()[:4096]:
            return path
    return None


CHROMIUM = browser()
HOSTILE = "<script>alert(1)</script>=cmd|'/C calc'!A0`$x_{|*"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("merged"))


@pytest.fixture(scope="module")
def report(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return write_report(context_of(results), tmp_path_factory.mktemp("report"), CORE)


def report_command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``python -m rtxbench.report`` as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "rtxbench.report", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )


def same_as_golden(name: str, text: str) -> None:
    """Compare with a golden file; RTXBENCH_UPDATE_GOLDEN=1 writes it anew (then read the diff)."""
    path = GOLDEN / name
    if os.environ.get("RTXBENCH_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_markdown_and_page_are_as_agreed(results: Path) -> None:
    """The whole text of both reports, from fixed records; drawings are left out, as they vary by library version."""
    context = context_of(results)
    views = make_views(context, CORE)
    names = [figure.name for view in views for section in view.sections for figure in section.figures]
    same_as_golden("report.md", render_markdown("rtxbench report", views, "figures"))
    same_as_golden("report.html", render_html(context, views, dict.fromkeys(names, "<svg></svg>"), ("report.md",)))


def test_every_named_file_is_written_and_every_figure_is_an_image(report: Report) -> None:
    """Page, Markdown, three CSV, verdicts, and each figure as SVG."""
    names = {path.name for path in report.files}
    assert {"report.html", "report.md", "cases.csv", "ratios.csv", "observations.csv", "verdicts.json"} <= names
    drawn = [path for path in report.files if path.parent.name == "figures"]
    assert drawn
    for path in drawn:
        assert path.suffix == ".svg"
        assert path.read_bytes().startswith(b"<?xml")


def test_figures_are_written_as_png_where_asked_for(tmp_path: Path) -> None:
    """Each SVG gets a PNG beside it, and the SVG is what it is without."""
    context = context_of(write_results(tmp_path / "results", (CPU_ONLY,), traces=False))
    both, plain = (write_report(context, tmp_path / name, png=name == "png").files for name in ("png", "svg"))
    pictures = {path.stem for path in both if path.suffix == ".png"}
    assert pictures == {path.stem for path in plain if path.suffix == ".svg"} != set()
    for path in both:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
            assert path.with_suffix(".svg").read_bytes() == (tmp_path / "svg/figures" / f"{path.stem}.svg").read_bytes()


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    """A report can be checked in: nothing in it depends on when or where it was written."""
    context = context_of(write_results(tmp_path / "results", (CPU_ONLY,)))
    first, again = write_report(context, tmp_path / "a", CORE), write_report(context, tmp_path / "b", CORE)
    for one, other in zip(first.files, again.files, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_machines_are_never_mixed(report: Report) -> None:
    """Of three machines the one with most records is drawn alone, and no verdict cites another machine's record."""
    timelines = [path.name for path in report.files if path.name.startswith("timeline") and path.suffix == ".svg"]
    assert timelines == [f"timeline-{BIG_GPU.machine}.svg"]
    for verdict in report.verdicts:
        assert all(verdict.machine[-4:] in record for record in verdict.evidence)


def test_every_figure_has_a_caption_and_words_for_the_blind(results: Path) -> None:
    """Alt text, caption and a name of its own, in every section there is."""
    context = context_of(results)
    figures = [f for make in SECTIONS if (section := make(context)) for f in section.figures]
    assert figures
    assert len({figure.name for figure in figures}) == len(figures)
    for figure in figures:
        assert len(figure.alt) > 30
        assert len(figure.caption) > 30
        assert re.fullmatch(r"[a-z0-9-]+", figure.name)


def test_verdicts_are_readable_by_a_machine(report: Report) -> None:
    """verdicts.json holds every verdict with its evidence."""
    path = next(path for path in report.files if path.name == "verdicts.json")
    verdicts = json.loads(path.read_text(encoding="utf-8"))
    assert len(verdicts) == len(report.verdicts)
    assert {verdict["state"] for verdict in verdicts} == {
        "supported", "refuted", "inconclusive", "not-measured", "not-testable",
    }  # fmt: skip


def test_no_results_is_an_error_with_the_next_step_and_no_page(tmp_path: Path) -> None:
    """Nothing to report: exit code 5, what to run, and no file written."""
    done = report_command(cwd=tmp_path)
    assert done.returncode == 5
    assert "pytest bench/ --benchmark-only" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_finished_record_is_nothing_to_report(tmp_path: Path) -> None:
    """A header alone is no result."""
    RunWriter(tmp_path, run_header(CPU_ONLY, "header-only")).close()
    with pytest.raises(RecordError, match="stopped before the first case"):
        load_runs([tmp_path])


def test_a_cut_or_bad_file_does_not_hide_the_good_ones(tmp_path: Path) -> None:
    """An unfinished last line costs that line, a bad file no other; page and terminal say so, exit code 5."""
    path = next(write_results(tmp_path / "results", (CPU_ONLY,), traces=False).rglob("*.jsonl"))
    whole = len(path.read_bytes().splitlines())
    path.write_bytes(path.read_bytes()[:-30])
    (tmp_path / "results" / "bad.jsonl").write_text("no results\n", encoding="utf-8")
    done = report_command("results", cwd=tmp_path)
    assert done.returncode == 5, done.stderr
    assert "cut short" in done.stderr
    assert "bad.jsonl, line 1" in done.stderr
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert f"{whole - 2} complete records" in page
    assert "bad.jsonl, line 1" in page


def test_strict_writes_nothing_beside_a_bad_file(tmp_path: Path) -> None:
    """`--strict` is for pipelines that want all or nothing."""
    folder = write_results(tmp_path / "results", (CPU_ONLY,), traces=False)
    (folder / "bad.jsonl").write_text("no results\n", encoding="utf-8")
    assert report_command(str(folder), "--strict", cwd=tmp_path).returncode == 5
    assert not (tmp_path / "report").exists()


def test_an_unreadable_trace_is_left_out_and_named(tmp_path: Path) -> None:
    """A damaged recording costs its figure, not the report."""
    folder = write_results(tmp_path, (CPU_ONLY,))
    next(folder.rglob("*.trace.jsonl")).write_text("not a trace\n", encoding="utf-8")
    context = context_of(folder)
    section = timeline_section(context)
    assert section is not None
    assert section.figures == ()
    assert any("left out" in getattr(block, "text", "") for block in section.blocks)


def test_json_names_files_and_verdicts(tmp_path: Path) -> None:
    """--json prints one JSON document; the suite's own claims are judged."""
    write_results(tmp_path / "results", (CPU_ONLY,), traces=False)
    done = report_command("--out", "out", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert all((tmp_path / file).exists() for file in document["files"])
    assert {"tensor-cores", "dlss"} <= {verdict["claim"] for verdict in document["verdicts"]}


def test_a_folder_that_cannot_be_written_is_a_clear_error(results: Path, tmp_path: Path) -> None:
    """A file where the folder should be: exit code 2 and what to do."""
    blocker = tmp_path / "out"
    blocker.write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="cannot write the report"):
        write_report(context_of(results), blocker)


def test_two_claims_of_one_name_are_refused(results: Path) -> None:
    """A claim of one's own cannot pass itself off as the suite's."""
    with pytest.raises(UsageError, match="two claims are called 'dlss'"):
        build_context(load_runs([results]).runs, [*CLAIMS, CLAIMS[1]])


def hostile_results(folder: Path) -> Path:
    """Results in which every free text is hostile, as a stranger's file may be."""
    environment = Environment(
        machine="hostile",  # a name is a folder, and the loader refuses any other
        cpu=Cpu(name=HOSTILE, physical_cores=1, logical_cores=1, memory_bytes=1, features=(HOSTILE,)),
        gpus=(Gpu(uuid=HOSTILE, name=HOSTILE, index=0, driver=HOSTILE, missing={HOSTILE: HOSTILE}),),
        operating_system=HOSTILE,
        packages={HOSTILE: HOSTILE},
        libraries={HOSTILE: HOSTILE},
        commit=HOSTILE,
        missing={HOSTILE: HOSTILE},
    )
    run = structs.replace(run_header(environment, "hostile"), command=(HOSTILE, HOSTILE), profile=HOSTILE)
    source = next(write_results(folder.parent / "source", (CPU_ONLY,), traces=False).rglob("*.jsonl"))
    flag = Flag(code=HOSTILE, severity="warn", detail=HOSTILE)
    with RunWriter(folder, run) as writer:
        for number, line in enumerate(source.read_bytes().splitlines()[1:8]):
            record = msgspec.json.decode(line, type=CaseRecord) if b'"kind":"case"' in line else None
            if record is not None:
                # A precision that no row names is refused by the loader already.
                case = structs.replace(record.case, workload=HOSTILE, variant=HOSTILE)
                writer.append(
                    structs.replace(
                        record,
                        record_id=f"{HOSTILE}{number}",
                        run_id="hostile",
                        case=case,
                        reason=HOSTILE,
                        group=HOSTILE,
                        flags=(flag,),
                    )
                )
    return folder


def test_hostile_records_make_a_harmless_report(tmp_path: Path) -> None:
    """Whatever a record's text is, nothing of it becomes markup, formula or path."""
    context = build_context(load_runs([hostile_results(tmp_path / "results")]).runs, CLAIMS)
    report = write_report(context, tmp_path / "out")
    page = report.files[0].read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    markdown = report.files[1].read_text(encoding="utf-8")
    assert "<script" not in markdown
    csv = next(path for path in report.files if path.name == "cases.csv").read_text(encoding="utf-8")
    assert not re.search(r'(^|,)"?[=+@]', csv, re.MULTILINE)
    assert {path.parent for path in report.files} == {tmp_path / "out", tmp_path / "out" / "figures"}


def test_the_report_imports_no_engine(tmp_path: Path) -> None:
    """A report needs no TensorFlow: it can be made where none is installed."""
    results = write_results(tmp_path / "results", (CPU_ONLY,))
    program = (
        "import sys\n"
        f"sys.argv = ['report', {str(results)!r}, '--out', {str(tmp_path)!r}]\n"
        "from rtxbench.report.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "engines = {'tensorflow', 'keras', 'keras_hub', 'jax', 'torch', 'pynvml'} & set(sys.modules)\n"
        "assert not engines, engines\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=HANG_S, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)")
def test_a_browser_opens_the_page_without_error_or_request(report: Report, tmp_path: Path) -> None:
    """Headless Chromium: no console message, nothing asked for beyond the page itself, every figure there."""
    dom, messages, requested = open_in_browser(report.files[0], tmp_path)
    figures = sum(path.suffix == ".svg" for path in report.files)
    assert dom.count("<figure ") == figures
    assert dom.count('role="img" aria-labelledby') == figures
    assert messages == []
    assert requested == []


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)")
def test_the_browser_check_sees_a_request_and_an_error(tmp_path: Path) -> None:
    """The check above can fail: a page with a foreign picture and a faulty script is found out."""
    page = tmp_path / "page.html"
    page.write_text("<img src='http://example.invalid/x.png'><script>console.error(1)</script>", encoding="utf-8")
    _dom, messages, requested = open_in_browser(page, tmp_path)
    assert messages != []
    assert requested == ["http://example.invalid/x.png"]


def open_in_browser(page: Path, folder: Path) -> tuple[str, list[str], list[str]]:
    """The page's DOM, its console messages, and the addresses it asked for; Chromium's own requests are left out."""
    log = folder / "net.json"
    quiet = ("background-networking", "component-update", "sync", "gpu")
    options = [f"--disable-{name}" for name in quiet] + ["--headless", "--no-sandbox", "--no-first-run", "--dump-dom"]
    options += ["--disable-dev-shm-usage"]  # a container's is small
    options += ["--enable-logging=stderr", "--v=0", f"--log-net-log={log}", f"--user-data-dir={folder / 'profile'}"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND"]
    done = subprocess.run(
        [str(CHROMIUM), *options, page.as_uri()], capture_output=True, text=True, timeout=HANG_S, check=False
    )
    assert done.returncode == 0, done.stderr
    started = re.compile(r'"initiator":"(?!not an origin)[^"]*".*?"url":"((?!file:|data:)[^"]+)"')
    requested = started.findall(log.read_text(encoding="utf-8", errors="replace"))
    messages = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, messages, list(dict.fromkeys(requested))
