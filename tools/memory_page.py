"""The part of docs/prediction.md on memory: what was computed against what others measured."""

import numpy as np

from rtxbench.advice.memory.need import Setup
from tools.memory_check import (
    compiled_checks,
    left_out_peak_checks,
    plan_checks,
    published_batch_checks,
    published_peak_checks,
)
from tools.page_tables import table

__all__ = ["memory_section"]


def memory_section() -> str:
    """Compute every published case anew and say how far off it is."""
    batch_checks = list(published_batch_checks())
    batches = [
        (c.what, str(c.published_batch), f"{c.smallest_largest} to {c.largest_largest}", "yes" if c.inside else "no")
        for c in batch_checks
    ]
    checks = list(compiled_checks())
    lines = [
        (c.workload, c.precision, str(c.batch_size), _mib(c.peak_bytes), f"{c.error_ratio:+.1%}", c.how) for c in checks
    ]
    errors = [abs(check.error_ratio) for check in checks]
    between = [abs(check.error_ratio) for check in checks if check.how.startswith("between")]
    inside = sum(check.inside for check in batch_checks)
    plans = [(c.what, _mib(c.plan_bytes), _mib(c.low_bytes), _mib(c.high_bytes)) for c in plan_checks()]
    within = sum(error <= 0.10 for error in errors)
    return f"""## Memory: does it fit?

Computed from dimensions (weights, gradients, optimizer slots, activations and logits, and what framework and libraries
add), as a range of at most ±20 % around the sum.

{_peaks()}

Against the batches people published per card (PyTorch; BERT at 384 tokens), which are about the largest that fit; the
computed largest batch is a range, and the published one should lie in it. Only ResNet-50 on 24 and 40 GB was used to
set the model. {inside} of {len(batches)} lie inside:

{table(("case", "published batch", "computed largest", "inside"), batches)}

For the suite's own workloads, the line through the peaks an engine reported at two batch sizes, checked on a third
between them or beyond. JAX reports the compiler's plan; these are of a CPU, in float32 and bfloat16
(`KERAS_BACKEND=jax python -m tools.memory_survey`). {within} of {len(lines)} within 10 %, of
those between {sum(error <= 0.10 for error in between)} of {len(between)}; median {np.median(errors):.1%}:

{table(("workload", "precision", "held-out batch", "peak, MiB", "error", "how"), lines)}

A compiler's plan for a CPU is no forecast of a GPU's peak: XLA's CPU back end keeps float32 copies and unfused
temporaries that a GPU's libraries do not. Where a model's dimensions are known `rtxbench advise` therefore uses the
computed range, your own measured peaks before it, and the CPU's plan only for the workloads that have neither. MiB:

{table(("case", "XLA's plan for a CPU", "computed for a GPU, lower end", "upper end"), plans)}"""


def _size(setup: Setup) -> str:
    """Length of a sequence or side of an image, with what else is unusual."""
    size = f"{setup.resolution} pixels" if setup.resolution else f"{setup.tokens} tokens"
    return size + (", FP8" if setup.fp8 else "") + (", encoders on the card" if setup.encoders_resident else "")


def _peaks() -> str:
    checks, left_out = published_peak_checks(), left_out_peak_checks()
    kinds = sorted({(c.peak.setup.framework, c.peak.setup.method) for c in checks})
    rows = []
    for framework, method in [*kinds, ("all", "")]:
        here, apart = (
            [
                c
                for c in part
                if framework == "all" or (c.peak.setup.framework, c.peak.setup.method) == (framework, method)
            ]
            for part in (checks, left_out)
        )
        errors = [abs(c.error_ratio) for c in here]
        covered = f"{sum(c.inside for c in apart) / len(apart):.0%}"
        rows.append(
            (framework, method, str(len(here)), f"{np.median(errors):.1%}", f"{np.quantile(errors, 0.9):.1%}",
             f"{sum(c.inside for c in here) / len(here):.0%}", covered)
        )  # fmt: skip
    every = [
        (
            f"{c.peak.model}, {c.peak.setup.method}, {c.peak.setup.framework}, batch {c.peak.setup.batch_size}, "
            f"{_size(c.peak.setup)}{'' if c.peak.setup.checkpointing else ', nothing recomputed'}",
            f"{c.peak.peak_bytes / 2**30:.1f}",
            f"{c.low_bytes / 2**30:.1f} to {c.high_bytes / 2**30:.1f}",
            "" if c.inside else "outside",
            c.peak.source.split(" (")[0],
        )
        for c in checks
    ]
    return f"""Against {len(checks)} peaks that others measured on GPUs. Four constants of each framework were chosen on
these peaks (`rtxbench.advice.memory.practice`); the last column chooses them without the model that is then predicted:

{table(("framework", "method", "peaks", "median error", "90th percentile", "inside", "inside, model left out"), rows)}

Every peak, GiB; where the publisher read the framework's allocator, the driver's context is left out of the range:

{table(("case", "published", "computed", "", "source"), every)}"""


def _mib(value_bytes: float) -> str:
    return f"{value_bytes / 2**20:,.0f}"
