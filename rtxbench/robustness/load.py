"""Measure the time and memory that judging and the report take as results grow: ``rtxbench selftest load``.

The results are made up and alike in form to real ones (cases of five launches with twelve blocks, paired ratios,
observations: about 2 kB a record); they are for this measurement alone and lie in a temporary folder. A few runs are
made and stamped with new ids as often as wanted, which writes a million records in a minute.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from rtxbench.catalog.cards import Card, load_cards
from rtxbench.records import (
    SCHEMA_VERSION,
    Case,
    CaseRecord,
    Cpu,
    Environment,
    Gpu,
    Launch,
    Measurement,
    Observation,
    RatioRecord,
    Record,
    Run,
)
from rtxbench.stats import launch_estimate, ratio_estimate, smallest_effect

__all__ = [
    "COMMANDS",
    "RECORDS_PER_RUN",
    "LoadPoint",
    "load_curve",
    "made_up_cards",
    "made_up_runs",
    "write_made_up",
    "write_made_up_tables",
]

_QUESTION: Final = "select machine, workload, precision, median(throughput_per_s) from cases group by all order by all"
COMMANDS: Final[Mapping[str, Callable[[Path, Path], list[str]]]] = {
    "claims": lambda results, _out: ["claims", "--results", str(results)],
    "report": lambda results, out: ["report", str(results), "--out", str(out)],
    "query": lambda results, _out: ["query", _QUESTION, str(results)],
    "site": lambda results, out: ["site", str(results), "--out", str(out)],
}
"""Name → arguments of rtxbench, given the results and a folder to write to."""

_WORKLOADS: Final = ("mlp", "mlp-wide", "cnn", "resnet14-64px", "bert-mini", "resnet50")
_PRECISIONS: Final = ("float32", "mixed_bfloat16")
_OBSERVATIONS: Final = 14
RECORDS_PER_RUN: Final = len(_WORKLOADS) * 3 + _OBSERVATIONS
_TEMPLATES: Final = 12
_BASE_RECORDS: Final = 100_000
"""Records that are exported; larger tables hold them several times, under the names of other machines."""
_LAUNCHES: Final = 5
_BLOCKS: Final = 12
_WHEN: Final = "2026-03-14T10:00:00+00:00"
_PREFIX: Final = "made-up-"
_NAMED: Final = ("machine", "run_id", "record_id", "baseline_record", "candidate_record", "record")
_RUN, _MACHINE, _DAY = "RUN-TO-STAMP", "MACHINE-TO-STAMP", "2026-03-14T09:00:00+00:00"


class LoadPoint(NamedTuple):
    """One command on so many records."""

    command: str
    form: Literal["lines", "tables"]
    """JSON lines as they are written, or the Parquet tables of `rtxbench export`."""
    records: int
    machines: int
    input_bytes: int
    wall_s: float
    cpu_s: float
    """User and system time of the command and all its processes: what a busy machine does not falsify."""
    peak_bytes: int
    """Largest resident set of any of its processes."""
    page_bytes: int | None
    """Of the report's page, or the largest of a site; ``None`` for other commands."""


def made_up_runs(machines: int, runs: int, cards: Sequence[Card] = ()) -> Iterator[tuple[str, str, str]]:
    """Make up machine, run id and text of ``runs`` results files of each machine; with ``cards``, of one card each."""
    count = max(_TEMPLATES, 4 * len(cards))
    templates = [_template(random.Random(n), cards[n % len(cards)] if cards else None) for n in range(count)]
    for machine in range(machines):
        slug = f"{_PREFIX}{machine:05d}"
        for number in range(runs):
            run_id = f"{slug}-{number:06d}"
            day = f"2026-{1 + number // 28 % 12:02d}-{1 + number % 28:02d}T09:00:00+00:00"
            turn = machine % count if cards else (machine + number) % count  # a machine keeps its card
            text = templates[turn]
            yield (
                slug,
                run_id,
                text.replace(_RUN, run_id).replace(_MACHINE, slug).replace(_DAY, day).replace(_WHEN, day),
            )


def write_made_up(folder: Path, records: int, machines: int = 4, cards: Sequence[Card] = ()) -> int:
    """Write at least ``records`` records of ``machines`` machines under ``folder``; return their number."""
    runs = math.ceil(records / RECORDS_PER_RUN / machines)
    for slug, run_id, text in made_up_runs(machines, runs, cards):
        path = folder / slug / f"{run_id}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return runs * machines * RECORDS_PER_RUN


def write_made_up_tables(folder: Path, records: int, machines: int = 4) -> int:
    """Write at least ``records`` records as exported tables of ``machines`` machines or, of many records, of more.

    Returns:
        Records written.
    """
    from rtxbench.results.tables import export

    with tempfile.TemporaryDirectory(prefix="rtxbench-made-up-") as scratch:
        lines = Path(scratch)
        count = write_made_up(lines, min(records, _BASE_RECORDS), machines)
        export([lines], folder)
    copies = math.ceil(records / count)
    for number in range(1, copies):
        _copy_machines(folder, f"{_PREFIX}{number}-")
    return count * copies


def _copy_machines(folder: Path, prefix: str) -> None:
    """Write each machine of the base once more under another name; every id changes with it."""
    import duckdb

    for source in sorted(folder.glob(f"*/machine={_PREFIX}[0-9][0-9][0-9][0-9][0-9]/part.parquet")):
        named = [name for name in duckdb.read_parquet(str(source)).columns if name in _NAMED]
        stamped = ", ".join(f"replace({name}, '{_PREFIX}', '{prefix}') as {name}" for name in named)
        target = source.parent.with_name(source.parent.name.replace(_PREFIX, prefix)) / source.name
        target.parent.mkdir()
        text = f"copy (select * replace ({stamped}) from read_parquet('{source}')) to '{target}' (compression zstd)"
        duckdb.execute(text)


def load_curve(
    sizes: Sequence[int],
    commands: Sequence[str],
    folder: Path,
    machines: int = 4,
    *,
    tables: bool = False,
) -> Iterator[LoadPoint]:
    """Run each command on each size, in processes of its own, results under ``folder``; as exported tables if asked.

    For ``site`` each machine has a card; it runs twice, so that the second finds all pages as they are.
    """
    fleet = "site" in commands
    for size in sizes:
        results = folder / f"records-{size}"
        # In a process of its own: a command's peak memory counts from the size of the process that starts it.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as writer:
            write = write_made_up_tables if tables else partial(write_made_up, cards=made_up_cards() if fleet else ())
            count = writer.submit(write, results, size, machines).result()
        for command in sorted([*commands, *(["site"] if fleet else [])]):
            yield _measured(command, results, count, folder / f"{command}-{size}", "tables" if tables else "lines")
        shutil.rmtree(results)


def _measured(command: str, results: Path, records: int, out: Path, form: Literal["lines", "tables"]) -> LoadPoint:
    """Run one command to its end and ask the system what it took."""
    arguments = [sys.executable, "-m", "rtxbench", *COMMANDS[command](results, out)]
    start = time.monotonic()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.monotonic() - start
    if process.returncode not in (0, 1):
        raise subprocess.CalledProcessError(process.returncode, process.args)
    pages = [path.stat().st_size for path in out.rglob("*.html")] if out.exists() else []
    return LoadPoint(
        command=command,
        form=form,
        records=records,
        machines=len(list((results / "runs" if form == "tables" else results).glob("*"))),
        input_bytes=sum(path.stat().st_size for path in results.rglob("*") if path.is_file()),
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024,
        page_bytes=max(pages, default=None),
    )


def made_up_cards() -> tuple[Card, ...]:
    """Return the catalogue's GeForce and workstation cards, for a made-up fleet."""
    return tuple(card for card in load_cards().values() if card.card_class in ("geforce", "workstation"))


def _template(rng: random.Random, card: Card | None) -> str:
    """Write one run of every workload as the text of its file, with names to be stamped."""
    lines = [msgspec.json.encode(line).decode() for line in (_header(rng, card), *_records(rng, card))]
    return "\n".join(lines) + "\n"


def _header(rng: random.Random, card: Card | None) -> Run:
    cpu = Cpu(name="Made-up CPU", physical_cores=2, logical_cores=4, memory_bytes=16 * 2**30, features=("avx2",))
    packages = {"tensorflow": rng.choice(("2.19.0", "2.20.0", "2.21.0"))}
    named = () if card is None else ((card.name, card.memory_bytes),)
    gpus = tuple(
        Gpu(uuid="GPU-made-up", name=f"NVIDIA {name}", index=0, memory_bytes=size, driver="580.1")
        for name, size in named
    )
    return Run(
        schema_version=SCHEMA_VERSION,
        run_id=_RUN,
        started_at=_DAY,
        monotonic_ns=1_000_000_000,
        realtime_ns=1_773_478_800_000_000_000,
        environment=Environment(machine=_MACHINE, cpu=cpu, gpus=gpus, packages=packages),
        command=("rtxbench", "run"),
        profile="quick",
        rtxbench_version="0.1.0",
    )


def _records(rng: random.Random, card: Card | None) -> Iterator[Record]:
    machine = math.exp(rng.gauss(0, 0.1 if card is None else 0.03))
    place, gain = ("cpu", 0.8) if card is None else ("gpu", 1.6)
    for number, workload in enumerate(_WORKLOADS):
        speed = 500.0 * (number + 1) * machine * (1.0 if card is None else card.fp32_flop_per_s / 1e13)
        arms = [_case(rng, workload, name, speed * (1, gain)[n], place) for n, name in enumerate(_PRECISIONS)]
        yield from arms
        yield _pair(rng, *arms)
    for number in range(_OBSERVATIONS):
        value = 4e10 * math.exp(rng.gauss(0, 0.02))
        yield Observation(
            record_id=f"{_RUN}-observation-{number}",
            run_id=_RUN,
            topic="ceiling",
            metric="memory_bandwidth_bytes_per_s" if number % 2 else "gemm_flop_per_s",
            values=(value, value * 1.01, value * 0.99),
            replicate="repeat",
            finished_at=_WHEN,
            labels={"engine": "tensorflow", "kind": "cpu", "precision": _PRECISIONS[number // 2 % 2]},
        )


def _case(rng: random.Random, workload: str, precision: str, per_s: float, placement: str) -> CaseRecord:
    case = Case(workload=workload, batch_size=64, precision=precision, placement=placement)
    launches = tuple(_launch(rng, case.batch_size / per_s, number) for number in range(_LAUNCHES))
    times = [sum(end - start for start, end in one.blocks_ns) / 1e9 / _BLOCKS / one.steps_per_block for one in launches]
    return CaseRecord(
        record_id=f"{_RUN}-{case.label}",
        run_id=_RUN,
        group=f"tensor-cores/{workload}",
        case=case,
        status="measured",
        finished_at=_WHEN,
        measurement=Measurement(
            launches=launches,
            step_time_s=launch_estimate(times),
            throughput_per_s=launch_estimate([case.batch_size / one for one in times]),
            warmup_ok=True,
            flops_per_step=1e9,
            flops_method="made up",
            numerics={"matmul_relative_error": 2e-3 if precision == "mixed_bfloat16" else 3e-7},
        ),
    )


def _launch(rng: random.Random, step_s: float, number: int) -> Launch:
    steps, start = max(1, round(0.4 / step_s)), 2_000_000_000 + number * 60_000_000_000
    speed, blocks = math.exp(rng.gauss(0, 0.006)), []
    for _ in range(_BLOCKS):
        end = start + round(steps * step_s * speed * math.exp(rng.gauss(0, 0.004)) * 1e9)
        blocks.append((start, end))
        start = end + 500_000_000
    return Launch(
        steps_per_block=steps,
        blocks_ns=tuple(blocks),
        warmup_ok=True,
        warmup_s=2.5,
        build_s=0.8,
        first_step_s=1.7,
        loss=2.31,
    )


def _pair(rng: random.Random, baseline: CaseRecord, candidate: CaseRecord) -> RatioRecord:
    gain = -0.2 if candidate.case.placement == "cpu" else 0.47
    logs = tuple(rng.gauss(gain, 0.008) for _ in range(_LAUNCHES))
    return RatioRecord(
        record_id=f"{candidate.record_id}-ratio",
        run_id=_RUN,
        group=candidate.group,
        baseline=baseline.case,
        candidate=candidate.case,
        baseline_record=baseline.record_id,
        candidate_record=candidate.record_id,
        metric="throughput",
        replicate="launch",
        log_ratios=logs,
        ratio=ratio_estimate(logs),
        smallest_effect_ratio=smallest_effect(logs),
        warmup_ok=True,
        finished_at=_WHEN,
    )
