"""Run every listing of this folder in one process, print what became of each as JSON; only MNIST is faked."""

import json
import logging
import os
import runpy
import sys
import traceback
import warnings
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"


def outcome(path: Path, recorded: list[str]) -> dict[str, object]:
    import tensorflow as tf

    recorded.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tf.keras.utils.set_random_seed(0)
        try:
            names = runpy.run_path(str(path))
            error, message = None, ""
        except Exception as failure:
            names, error, message = {}, type(failure).__name__, str(failure)
            traceback.print_exc()
    figures = {
        name: names[name] for name in ("accuracy", "visible", "shape", "largest", "before", "after") if name in names
    }
    told = [str(item.message) for item in caught] + list(recorded)
    return {"error": error, "message": message, "figures": figures, "told": told}


def main() -> None:
    import tensorflow as tf

    from rtxbench.trials.digits import generated_digits

    data = generated_digits(train=600, validation=10, test=100)
    mnist = (data.train[0], data.train[1].astype("uint8")), (data.test[0], data.test[1].astype("uint8"))
    tf.keras.datasets.mnist.load_data = lambda *arguments, **options: mnist
    recorded: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: recorded.append(record.getMessage())
    logging.getLogger("absl").addHandler(handler)
    here = Path(__file__).parent
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Keras prints its progress on stdout
    found = {
        path.stem: outcome(path, recorded)
        for path in sorted(here.glob("*.py"))
        if path.stem not in {"run_all", "__init__"}
    }
    json.dump(found, replies)
    replies.close()


if __name__ == "__main__":
    sys.exit(main())
