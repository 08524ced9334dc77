"""Steps to gate or to try the gate with; each is a case for ``--cases`` and an example of one."""

from collections.abc import Callable

__all__ = ["gate_decisions", "numpy_mlp", "numpy_whitening", "tensorflow_mlp"]


def numpy_mlp() -> Callable[[], float]:
    """Build a training step of the 784-512-10 perceptron in plain numpy: no engine to install, milliseconds a step."""
    import numpy as np

    generator = np.random.default_rng(0)
    images = generator.normal(size=(32, 784)).astype(np.float32)
    labels = np.eye(10, dtype=np.float32)[generator.integers(0, 10, 32)]
    hidden = (generator.normal(size=(784, 512)) * 0.05).astype(np.float32)
    output = (generator.normal(size=(512, 10)) * 0.05).astype(np.float32)

    def step() -> float:
        """Train on the whole batch once, forward and back; returns the loss."""
        activation = np.maximum(images @ hidden, 0)
        logits = activation @ output
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        share = odds / odds.sum(axis=1, keepdims=True)
        gradient = (share - labels) / len(images)
        back = (gradient @ output.T) * (activation > 0)
        output[:] -= 0.01 * (activation.T @ gradient)
        hidden[:] -= 0.01 * (images.T @ back)
        return -float(np.log((share * labels).sum(axis=1)).mean())

    return step


def numpy_whitening() -> Callable[[], float]:
    """Whiten batches in plain numpy; the first step computes the transform and takes a hundred times as long."""
    import numpy as np

    images = np.random.default_rng(0).normal(size=(2048, 784))
    transform: list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = []

    def step() -> float:
        """Whiten some images; the transform is found in the first call, which takes long."""
        if not transform:
            variances, axes = np.linalg.eigh(images.T @ images / len(images))
            transform.append(axes / np.sqrt(variances))
        return float((images[:64] @ transform[0]).std())

    return step


def tensorflow_mlp() -> Callable[[], None]:
    """Build the article's perceptron, batch 512, on the TensorFlow engine: what ``rtxbench run`` measures."""
    from rtxbench.engines import load_engine
    from rtxbench.records import Case

    built = load_engine("tensorflow").build(Case(workload="mlp", batch_size=512), seed=0)
    built.activate()
    return lambda: built.run(1)


def gate_decisions() -> Callable[[], float]:
    """Build a step of a hundred gate decisions on fixed launches: the suite's own hot path, gated by itself."""
    import numpy as np

    from rtxbench.gate.statistics.decision import replay

    launches = np.random.default_rng(0).normal(0.02, 0.015, (100, 16)).tolist()

    def step() -> float:
        return float(sum(used for _decision, used in map(replay, launches)))

    return step
