"""The article's listings, run as printed on today's TensorFlow: each test states what becomes of one.

The listings are in ``article/``; they run in one process of their own, in an empty folder. Nothing is faked but the
download of MNIST, which is replaced by generated digits of MNIST's shape and type.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow", reason="the listings are TensorFlow's")

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Listing name → error class or ``None``, message, figures, and what was told on the way."""
    result = subprocess.run(
        [sys.executable, str(HERE / "article" / "run_all.py")],
        cwd=tmp_path_factory.mktemp("article"),
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    found: dict[str, dict[str, Any]] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("listing", ["mlp", "tuning"])
def test_the_mlp_refuses_images_that_are_not_flattened(outcomes: dict[str, Any], listing: str) -> None:
    """As printed, 28×28 images go into a model that wants 784 inputs: a ValueError, nothing is trained."""
    assert outcomes[listing]["error"] == "ValueError"
    assert "Expected shape (None, 784)" in outcomes[listing]["message"]
    assert "28, 28" in outcomes[listing]["message"]


def test_the_mlp_trains_once_the_images_are_flattened_and_scaled(outcomes: dict[str, Any]) -> None:
    """Mended by one line, the listing trains: its training accuracy is far above the tenth that guessing gives."""
    assert outcomes["mlp_mended"]["error"] is None
    assert outcomes["mlp_mended"]["figures"]["accuracy"] > 0.5


def test_the_cnn_listing_has_no_batch_axis(outcomes: dict[str, Any]) -> None:
    """As printed, one 3-D image reads as 224 examples beside one label: a ValueError."""
    assert outcomes["cnn"]["error"] == "ValueError"
    assert "cardinality" in outcomes["cnn"]["message"]
    assert "224" in outcomes["cnn"]["message"]


def test_the_cnn_listing_has_one_hot_labels_for_a_sparse_loss(outcomes: dict[str, Any]) -> None:
    """With a batch axis the next fault shows: labels of shape (1, 10) do not fit a sparse loss."""
    assert outcomes["cnn_batched"]["error"] == "ValueError"
    assert "target.shape=(None, 10)" in outcomes["cnn_batched"]["message"]


def test_the_parallel_listing_uses_at_most_one_gpu(outcomes: dict[str, Any]) -> None:
    """Without a GPU it fails with an IndexError; with several it hides all but one, the opposite of its claim."""
    outcome = outcomes["parallel"]
    if outcome["error"] is None:
        assert outcome["figures"]["visible"] == 1
    else:
        assert outcome["error"] == "IndexError"


def test_the_augmentation_listing_wants_a_channel_axis(outcomes: dict[str, Any]) -> None:
    """As printed, MNIST's (n, 28, 28) is refused: the legacy class wants rank 4."""
    assert outcomes["augmentation"]["error"] == "ValueError"
    assert "rank 4" in outcomes["augmentation"]["message"]


def test_the_legacy_generator_still_works_with_one(outcomes: dict[str, Any]) -> None:
    """Given a channel axis ImageDataGenerator yields scaled batches; it is legacy, but not gone."""
    assert outcomes["augmentation_4d"]["error"] is None
    assert outcomes["augmentation_4d"]["figures"]["shape"] == [32, 28, 28, 1]
    assert 0.5 < outcomes["augmentation_4d"]["figures"]["largest"] <= 1.0


def test_the_deployment_listing_loads_a_file_nothing_saved(outcomes: dict[str, Any]) -> None:
    """As printed, on its own, there is no my_model.h5: a FileNotFoundError."""
    assert outcomes["deployment"]["error"] == "FileNotFoundError"


def test_a_saved_h5_evaluates_as_before_and_is_called_legacy(outcomes: dict[str, Any]) -> None:
    """Saved first, the model loads and evaluates to the same loss and accuracy, and Keras calls the format legacy."""
    outcome = outcomes["deployment_saved"]
    assert outcome["error"] is None
    assert outcome["figures"]["after"] == pytest.approx(outcome["figures"]["before"])
    assert any("legacy" in text for text in outcome["told"])


def test_the_old_way_to_give_a_shape_is_advised_against(outcomes: dict[str, Any]) -> None:
    """``input_shape=`` on a first layer still works, with a warning that names ``Input`` as its successor."""
    assert any("Input(shape)" in text for text in outcomes["mlp"]["told"])
