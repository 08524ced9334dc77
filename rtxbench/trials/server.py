"""The process that trains for accuracy: ``python -m rtxbench.trials.server ENGINE``, driven line by line.

It owns one engine and answers any number of trials; see `rtxbench.trials.messages`. It ends when its stdin
closes, hence also when the coordinator dies.
"""

import os
import sys
from typing import BinaryIO

from rtxbench.engines import load_engine
from rtxbench.engines.base import Engine
from rtxbench.errors import RtxbenchError
from rtxbench.trials import deploying, probing, training
from rtxbench.trials.messages import (
    Deploy,
    Pipeline,
    Probe,
    Split,
    Train,
    TrialFailed,
    TrialReply,
    TrialRequest,
    decode_trial_request,
    encode_trial,
)

__all__ = ["main", "serve"]


def serve(engine: Engine, requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer each request line with one reply line; a failing trial does not take the others down."""
    pool = training.ModelPool(engine)
    for line in requests:
        request = decode_trial_request(line)
        replies.write(encode_trial(_answer(request, pool)))
        replies.flush()


def _answer(request: TrialRequest, pool: training.ModelPool) -> TrialReply:
    try:
        return _run(request, pool)
    except RtxbenchError as error:
        return TrialFailed(key=request.key, kind=type(error).__name__, message=error.message, next_step=error.next_step)
    except Exception as error:  # frameworks raise anything; the coordinator stores it as the trial's reason
        text = str(error).strip().splitlines()
        return TrialFailed(
            key=request.key,
            kind=type(error).__name__,
            message=f"{type(error).__name__}: {text[0][:300] if text else ''}",
            next_step="Run `rtxbench doctor`; a smaller batch may help.",
        )


def _run(request: TrialRequest, pool: training.ModelPool) -> TrialReply:
    match request:
        case Train():
            return training.run_training(request, pool)
        case Probe():
            return probing.run_probe(request, pool)
        case Pipeline():
            return probing.run_pipeline(request, pool)
        case Deploy():
            return deploying.run_deployment(request, pool)
        case Split():
            return probing.run_split_check(request)


def main() -> None:
    """Serve requests on stdin until it closes. Whatever the framework prints goes to stderr."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a framework's chatter on stdout must not corrupt the protocol
    serve(load_engine(sys.argv[1]), sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
