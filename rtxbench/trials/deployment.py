"""deployment: what a model says after it was saved and loaded, how large it is, and how fast it answers."""

from rtxbench.precision import reduced_precision_of, why_not
from rtxbench.records import Case
from rtxbench.trials.context import TrialContext, observe, why_no_result
from rtxbench.trials.messages import Deploy, Deployed

__all__ = ["measure_deployment"]

_ROUND_TRIP = ("probability_difference", "accuracy_difference")
_COSTS = ("size_bytes", "save_s", "load_s")


def measure_deployment(context: TrialContext) -> None:
    """Measure every format on fresh weights per seed, and latency over as many process launches."""
    scale = context.scale
    replies: list[Deployed] = []
    failure = None
    try:
        for number, seed in enumerate(context.seeds):
            context.progress(f"deployment: launch {number + 1}", number, scale.seeds)
            if number:
                context.fresh_worker()  # a latency is a launch's: repeats in one process share its luck
            reply = context.answer(_request(context, seed))
            if isinstance(reply, Deployed):
                replies.append(reply)
            else:
                failure = why_no_result(reply)
                break
    finally:  # after Ctrl-C, too: what was measured is stored
        if replies:
            _store_formats(context, replies)
            _store_latencies(context, replies)
    if failure is not None:
        observe(context, "deployment", "probability_difference", (), labels={"format": "all"}, reason=failure)


def _request(context: TrialContext, seed: int) -> Deploy:
    scale = context.scale
    kind = "gpu" if context.environment.gpus else "cpu"
    reduced = reduced_precision_of(kind).name
    precisions = ("float32", reduced) if why_not(reduced, device_kind=kind, compiler="none") is None else ("float32",)
    return Deploy(
        key=f"deployment/{seed}",
        data=scale.data(seed),
        seed=seed,
        latency_batches=scale.latency_batches,
        latency_precisions=precisions,
        requests=scale.requests,
        repeats=1,
    )


def _store_formats(context: TrialContext, replies: list[Deployed]) -> None:
    first = replies[0]
    case = Case(workload="digits-cnn", batch_size=64, placement=first.device_kind, engine=context.engine)
    for name in first.formats:
        labels = {"format": name, "dataset": first.dataset}
        results = [reply.formats[name] for reply in replies]
        reason = next((result.reason for result in results if result.reason is not None), None)
        for metric in (*_ROUND_TRIP, *_COSTS):
            values = [] if reason else [getattr(result, metric) for result in results]
            if not reason or metric == _ROUND_TRIP[0]:
                observe(context, "deployment", metric, values, case=case, labels=labels, reason=reason)
    loaded = [reply.unsafe_files_loaded for reply in replies]
    observe(context, "deployment", "unsafe_files_loaded", loaded, labels={"safe_mode": "on"})


def _store_latencies(context: TrialContext, replies: list[Deployed]) -> None:
    """Store one value per launch of each batch size and precision."""
    for number, latency in enumerate(replies[0].latencies):
        case = Case(
            workload="digits-cnn",
            batch_size=latency.batch_size,
            precision=latency.precision,
            placement=replies[0].device_kind,
            engine=context.engine,
        )
        launches = [reply.latencies[number] for reply in replies]
        rows = {
            "latency_p50_s": [value for launch in launches for value in launch.p50_s],
            "latency_p99_s": [value for launch in launches for value in launch.p99_s],
            "inference_throughput_per_s": [value for launch in launches for value in launch.throughput_per_s],
        }
        few = f"{context.scale.requests * context.scale.repeats} requests a launch are too few for a 99th percentile"
        for metric, values in rows.items():
            observe(context, "deployment", metric, values, case=case, replicate="launch", reason=few)
