"""Serve requests in a worker process: greet, answer line by line, end with the coordinator."""

import os
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from rtxbench.engines import load_engine
from rtxbench.engines.contract import Engine
from rtxbench.errors import RtxbenchError
from rtxbench.workers.protocol import Close, Failed, Ready, encode

__all__ = ["serve"]


def serve(
    engine_name: str,
    requests: "msgspec.json.Decoder[Any]",
    answerer: Callable[[Engine], Callable[[Any], msgspec.Struct]],
    load: Callable[[str], Engine] = load_engine,
) -> None:
    """Load an engine and answer requests on standard input until it closes, hence also when the coordinator dies.

    The process sleeps in a pipe read between requests, so that workers which wait do not disturb the one that is
    measured. Whatever a framework prints goes to standard error. A request that fails is answered with `Failed`, so
    that one cannot take the others down.

    Args:
        engine_name: row of `rtxbench.engines.ENGINES`.
        requests: decodes one request line.
        answerer: makes the function that answers a request, given the loaded engine.
        load: gives the engine of that name.
    """
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a framework's chatter on stdout must not corrupt the protocol

    def send(reply: msgspec.Struct) -> None:
        replies.write(encode(reply))
        replies.flush()

    try:
        engine = load(engine_name)
        answer = answerer(engine)
        send(_greeting(engine))
    except RtxbenchError as error:
        send(_failure(error))
        return
    for line in sys.stdin.buffer:
        request = requests.decode(line)
        if isinstance(request, Close):
            os._exit(0)  # a framework's own teardown takes seconds and has nothing left to save
        try:
            reply = answer(request)
        except Exception as error:  # frameworks raise anything; the coordinator stores it as the case's reason
            reply = _failure(error)
        send(reply)


def _greeting(engine: Engine) -> Ready:
    devices = tuple((device.kind, device.description or device.name) for device in engine.devices())
    return Ready(engine=engine.name, versions=engine.versions(), devices=devices)


def _failure(error: Exception) -> Failed:
    kind = type(error).__name__
    if isinstance(error, RtxbenchError):
        return Failed(kind=kind, message=error.message, next_step=error.next_step)
    text = str(error).strip().splitlines()
    return Failed(
        kind=kind,
        message=f"{kind}: {text[0][:300] if text else ''}",
        next_step="Run `rtxbench doctor`; a smaller batch may help.",
    )
