"""The process that trains for accuracy: ``python -m rtxbench.trials.server ENGINE``, driven line by line.

It owns one engine and answers any number of trials; see `rtxbench.trials.messages`. It ends when its stdin
closes, hence also when the coordinator dies.
"""

import sys
from collections.abc import Callable

from rtxbench.engines.contract import Engine
from rtxbench.trials import deploying, probing, training
from rtxbench.trials.messages import (
    TRIAL_REQUESTS,
    Deploy,
    Pipeline,
    Probe,
    Split,
    Train,
    TrialReply,
    TrialRequest,
)
from rtxbench.workers.serving import serve

__all__ = ["main"]


def _answerer(engine: Engine) -> Callable[[TrialRequest], TrialReply]:
    pool = training.ModelPool(engine)

    def answer(request: TrialRequest) -> TrialReply:
        """Run the trial that a request asks for."""
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

    return answer


def main() -> None:
    """Serve requests on stdin until it closes."""
    serve(sys.argv[1], TRIAL_REQUESTS, _answerer)


if __name__ == "__main__":
    main()
