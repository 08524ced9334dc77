"""ResNet in torchvision's form: its modules, its parameter names, its initialisation, no biases before normalisation.

Written here because torchvision's wheels load beside one build of PyTorch only; a test holds it to torchvision where
that is installed. One thing is not torchvision's: the stride of a stage is in its first 1×1 convolution, as in He et
al. 2015 and in ``keras.applications``, not in the 3×3 one, which costs 6 % more operations (ResNet-50 "v1.5").
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

__all__ = ["ResNet"]

_EXPANSION = 4
_EPSILON = 1.001e-5  # that of keras.applications


class _Bottleneck(nn.Module):  # type: ignore[misc]  # torch is not typed here
    """1×1 → 3×3 → 1×1 with four times the width, beside its input or a projection of it."""

    def __init__(self, inputs: int, width: int, stride: int, *, projected: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, stride=stride, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps=_EPSILON)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps=_EPSILON)
        self.conv3 = nn.Conv2d(width, _EXPANSION * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(_EXPANSION * width, eps=_EPSILON)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(inputs, _EXPANSION * width, stride) if projected else None

    def forward(self, x: Any) -> Any:
        """Add the bottleneck to the shortcut."""
        inner = self.relu(self.bn1(self.conv1(x)))
        inner = self.relu(self.bn2(self.conv2(inner)))
        inner = self.bn3(self.conv3(inner))
        return self.relu(inner + (x if self.downsample is None else self.downsample(x)))


def _projection(inputs: int, outputs: int, stride: int) -> Any:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs, eps=_EPSILON)
    )


class ResNet(nn.Module):  # type: ignore[misc]  # torch is not typed here
    """A residual network of bottlenecks with 1000 logits.

    Args:
        blocks: per stage; (3, 4, 6, 3) is ResNet-50.
    """

    def __init__(self, blocks: Sequence[int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64, eps=_EPSILON)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(64, 64, blocks[0], stride=1)
        self.layer2 = _stage(256, 128, blocks[1], stride=2)
        self.layer3 = _stage(512, 256, blocks[2], stride=2)
        self.layer4 = _stage(1024, 512, blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2048, 1000)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Any) -> Any:
        """Return the logits of a batch of images."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def _stage(inputs: int, width: int, blocks: int, stride: int) -> Any:
    first = _Bottleneck(inputs, width, stride, projected=True)
    rest = (_Bottleneck(_EXPANSION * width, width, 1, projected=False) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)
