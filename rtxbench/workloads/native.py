"""The suite's dense and image models as PyTorch's users write them: plain modules, logits, images channels last.

Each trains on the batch of its Keras twin with the same loss and the same floating-point operations; what differs is
what the two frameworks' users write differently, and is said where it is built. Transformers are in
`rtxbench.workloads.native_language`.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from rtxbench.workloads.workload import Batch, NativeForm

__all__ = ["CNN", "CONV_FULL", "CONV_SEPARABLE", "DIGITS_CNN", "MLP", "MLP_WIDE", "RESNET14", "RESNET50", "labels_of"]

_CLASSES = 10


def labels_of(labels: Any) -> Any:
    """Turn integer labels into the 64-bit ones that PyTorch's losses take."""
    import torch

    return torch.from_numpy(labels).long()


def _features(batch: Batch) -> tuple[Any, Any]:
    import torch

    return torch.from_numpy(batch[0]), labels_of(batch[1])


def _images(batch: Batch) -> tuple[Any, Any]:
    """NumPy's height, width, channels seen as PyTorch's channels-first shape: the memory stays channels last."""
    import torch

    return torch.from_numpy(batch[0]).permute(0, 3, 1, 2), labels_of(batch[1])


def _cross_entropy(outputs: Any, labels: Any) -> Any:
    import torch

    return torch.nn.functional.cross_entropy(outputs.float(), labels)


def _dense(widths: Sequence[int]) -> Any:
    """Linear layers with ReLU between them, logits at the end (the loss takes their softmax)."""
    from torch import nn

    layers: list[Any] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _channels_last(model: Any) -> Any:
    import torch

    return model.to(memory_format=torch.channels_last)


def _article_cnn() -> Any:
    """Conv 32·3×3 ReLU → MaxPool 2 → Flatten → 10 logits on 224×224×3."""
    from torch import nn

    pooled = 32 * 111 * 111
    return _channels_last(
        nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(pooled, _CLASSES))
    )


def _digits_cnn() -> Any:
    """Conv 16·3×3 → pool → Conv 32·3×3 → pool → 64 ReLU → 10 logits on 28×28×1."""
    from torch import nn

    convolutions = [nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2)]
    dense = [nn.Flatten(), nn.Linear(32 * 5 * 5, 64), nn.ReLU(), nn.Linear(64, _CLASSES)]
    return _channels_last(nn.Sequential(*convolutions, *dense))


def _convolutions(*, separable: bool) -> Any:
    """Four 3×3 convolutions of 64 channels, full or depthwise-separable, on 32×32×64."""
    from torch import nn

    def layer() -> list[Any]:
        if not separable:
            return [nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()]
        return [nn.Conv2d(64, 64, 3, padding=1, groups=64, bias=False), nn.Conv2d(64, 64, 1), nn.ReLU()]

    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, _CLASSES)]
    return _channels_last(nn.Sequential(*(part for _ in range(4) for part in layer()), *pooled))


def _resnet(blocks: Sequence[int]) -> Any:
    from rtxbench.workloads.native_resnet import ResNet  # derives from PyTorch's own classes

    return _channels_last(ResNet(blocks))


MLP = NativeForm(lambda: _dense((784, 512, _CLASSES)), _features, _cross_entropy)
MLP_WIDE = NativeForm(lambda: _dense((4096, 4096, 4096, _CLASSES)), _features, _cross_entropy)
CNN = NativeForm(_article_cnn, _images, _cross_entropy)
DIGITS_CNN = NativeForm(_digits_cnn, _images, _cross_entropy)
CONV_FULL = NativeForm(lambda: _convolutions(separable=False), _images, _cross_entropy)
CONV_SEPARABLE = NativeForm(lambda: _convolutions(separable=True), _images, _cross_entropy)
RESNET14 = NativeForm(lambda: _resnet((1, 1, 1, 1)), _images, _cross_entropy)
RESNET50 = NativeForm(lambda: _resnet((3, 4, 6, 3)), _images, _cross_entropy)
