"""``rtxbench selftest gpu``: what rtxbench assumes of cards, held against the one in this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rtxbench.gpu_selftest.bundle import Bundle

__all__ = ["selftest_gpu"]


def selftest_gpu(
    bundle: Annotated[
        bool, typer.Option("--bundle", help="Write everything seen to one file, to be attached to an issue.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The bundle's file; by default a new one in this folder.")] = None,
    read: Annotated[Path | None, typer.Option(help="Try nothing: judge this bundle.")] = None,
    engine: Annotated[list[str] | None, typer.Option(help="Only this engine (repeatable).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answers as JSON.")] = False,
) -> None:
    """Try in three minutes what rtxbench assumes of this machine's GPU: sensors, clocks, precisions, memory, kernels.

    Exit code 70 if something does not hold, 3 without a GPU. Example: `rtxbench selftest gpu --bundle`.
    """
    import msgspec

    from rtxbench.errors import UnavailableError
    from rtxbench.exits import FAULT
    from rtxbench.gpu_selftest.bundle import load_bundle
    from rtxbench.gpu_selftest.checks import check_bundle, checks_text

    seen = load_bundle(read) if read is not None else _tried(engine)
    checked = check_bundle(seen)
    if as_json:
        typer.echo(msgspec.json.encode([check._asdict() for check in checked]).decode())
    else:
        typer.echo(checks_text(seen, checked))
    if bundle or out is not None:
        _write_bundle(seen, out)
    if any(check.state == "broken" for check in checked):
        raise typer.Exit(FAULT)
    if not seen.environment.gpus:
        raise typer.Exit(UnavailableError.exit_code)


def _tried(engines: list[str] | None) -> "Bundle":
    from rtxbench.engines import FRAMEWORKS
    from rtxbench.gpu_selftest.request import GpuSelftestRequest
    from rtxbench.gpu_selftest.session import run_gpu_selftest
    from rtxbench.lookup import named

    for name in engines or ():
        named(dict.fromkeys(FRAMEWORKS), name, "engine")
    request = GpuSelftestRequest(engines=tuple(engines or FRAMEWORKS))
    return run_gpu_selftest(request, lambda line: typer.echo(line, err=True))


def _write_bundle(seen: "Bundle", out: Path | None) -> None:
    from rtxbench.cli.shared_file import anonymous_json, issue_address

    path = out or Path(f"rtxbench-gpu-{seen.environment.machine}.json")
    data = anonymous_json(seen)
    path.write_bytes(data)
    typer.echo(f"wrote {path} ({len(data):,} bytes; no path, address or serial number is in it)", err=True)
    typer.echo(f"next: attach it to {issue_address()}", err=True)
