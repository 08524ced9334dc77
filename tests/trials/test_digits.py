import numpy as np
import pytest

from rtxbench.errors import UnavailableError
from rtxbench.trials import pipelines
from rtxbench.trials.digits import corrupted_images, generated_digits
from rtxbench.trials.messages import DataSpec

SMALL = DataSpec(train=500, validation=200, test=200)


def test_the_same_seed_gives_the_same_bytes_everywhere() -> None:
    """The checksum of the default set is part of the project: results of two machines are on one set."""
    assert generated_digits(500, 200, 200).checksum == "1cb048057a39e400"
    assert generated_digits(500, 200, 200, seed=1).checksum != generated_digits(500, 200, 200).checksum


def test_the_set_has_mnists_form() -> None:
    """28×28 bytes, ten classes of equal size, and no image in two parts."""
    data = generated_digits(500, 200, 200)
    images, labels = data.train
    assert (images.shape, images.dtype) == ((500, 28, 28), np.uint8)
    assert np.bincount(labels).tolist() == [50] * 10
    parts = [{image.tobytes() for image in part[0]} for part in (data.train, data.validation, data.test)]
    assert len(parts[0] | parts[1] | parts[2]) == 900


def test_the_set_is_neither_trivial_nor_hopeless() -> None:
    """The nearest class mean does far better than guessing and far worse than a trained network."""
    data = generated_digits(2000, 10, 500)
    images, labels = data.train
    means = np.stack([images[labels == digit].mean(axis=0).ravel() for digit in range(10)])
    test = data.test[0].reshape(500, -1).astype(float)
    nearest = ((test[:, None, :] - means[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert 0.2 < (nearest == data.test[1]).mean() < 0.8


def test_corruption_keeps_form_and_place() -> None:
    """The robustness images are other images of the same shape and type, the same every time, and none is moved."""
    images = generated_digits(200, 10, 10, upright=True).train[0]
    corrupted = corrupted_images(images)
    assert (corrupted.shape, corrupted.dtype) == (images.shape, images.dtype)
    assert np.array_equal(corrupted, corrupted_images(images))
    assert not np.array_equal(corrupted, corrupted_images(images, seed=1))
    assert (corrupted != images).any(axis=(1, 2)).mean() > 0.95
    correlations = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(images, corrupted, strict=True)]
    assert np.median(correlations) > 0.6


def likeness(upright: bool) -> float:
    """Mean correlation of an image with the mean of its class."""
    images, labels = generated_digits(1000, 10, 10, upright=upright).train
    flat = images.reshape(len(images), -1).astype(float)
    means = np.stack([flat[labels == digit].mean(axis=0) for digit in range(10)])
    return float(np.mean([np.corrcoef(a, means[label])[0, 1] for a, label in zip(flat, labels, strict=True)]))


def test_upright_digits_are_not_augmented_already() -> None:
    """Without drawn shifts and rotations the images of a digit lie on each other, and resemble their mean more."""
    assert likeness(upright=True) > likeness(upright=False) + 0.08
    assert generated_digits(500, 200, 200, upright=True).checksum == "a2d5790ad60a0098"


def test_mnist_that_cannot_be_had_is_said_quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Without cache and network the reason names both places, and asking for MNIST by name is an error."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(pipelines, "_MNIST_HOST", ("127.0.0.1", 9))
    assert "does not answer" in (pipelines.mnist_source() or "")
    pipelines.load_images.cache_clear()
    with pytest.raises(UnavailableError, match="generated digits"):
        pipelines.load_images(DataSpec(name="mnist", train=10))
    assert pipelines.load_images(SMALL).name == "generated-digits-v1"


def test_a_cached_mnist_needs_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A file in Keras's cache is taken without asking the network."""
    home = tmp_path_factory.mktemp("keras")
    (home / "datasets").mkdir()
    (home / "datasets" / "mnist.npz").write_bytes(b"")
    monkeypatch.setenv("KERAS_HOME", str(home))
    monkeypatch.setattr(pipelines, "_MNIST_HOST", ("127.0.0.1", 9))
    assert pipelines.mnist_source() is None
