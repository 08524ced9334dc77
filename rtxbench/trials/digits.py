"""A small set of ten digit classes the project draws itself: 28×28, deterministic on every machine.

Each image is one glyph of a 5×7 dot matrix, drawn with soft dots through a random affine map (rotation, scale, shear,
shift), in random contrast, with noise and a short stray stroke. It stands in for MNIST where that cannot be had, and
is hard enough that accuracy tells runs apart. Accuracies on different sets are never compared.

Only integer draws and elementwise IEEE arithmetic are used, so that the same seed gives the same bytes everywhere;
`Dataset.checksum` proves it.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["GENERATED_NAME", "UPRIGHT_NAME", "Dataset", "corrupted_images", "generated_digits"]

GENERATED_NAME: Final = "generated-digits-v1"
UPRIGHT_NAME: Final = "generated-upright-digits-v1"
"""Each dot is drawn a little off its place, fainter or not at all, as hands differ; nothing is turned or moved."""
_SIDE_PX: Final = 28
_GLYPHS: Final = (
    "01110 10001 10011 10101 11001 10001 01110",
    "00100 01100 00100 00100 00100 00100 01110",
    "01110 10001 00001 00010 00100 01000 11111",
    "11111 00010 00100 00010 00001 10001 01110",
    "00010 00110 01010 10010 11111 00010 00010",
    "11111 10000 11110 00001 00001 10001 01110",
    "00110 01000 10000 11110 10001 10001 01110",
    "11111 00001 00010 00100 01000 01000 01000",
    "01110 10001 10001 01110 10001 10001 01110",
    "01110 10001 10001 01111 00001 00010 01100",
)
"""Dot-matrix rows of the digits 0-9, 5 columns by 7 rows."""
_DOT_PITCH_PX: Final = 3.0
_DOT_RADIUS_PX: Final = 1.9


@dataclass(frozen=True)
class Dataset:
    """Images of shape (n, 28, 28), uint8, and integer labels of shape (n,), for training, validation and test."""

    name: str
    train: tuple[NDArray[np.uint8], NDArray[np.int32]]
    validation: tuple[NDArray[np.uint8], NDArray[np.int32]]
    test: tuple[NDArray[np.uint8], NDArray[np.int32]]

    @property
    def checksum(self) -> str:
        """SHA-256 over all images and labels, first 16 hexadecimal digits."""
        digest = hashlib.sha256()
        for images, labels in (self.train, self.validation, self.test):
            digest.update(np.ascontiguousarray(images).tobytes())
            digest.update(np.ascontiguousarray(labels, dtype="<i4").tobytes())
        return digest.hexdigest()[:16]


def generated_digits(
    train: int = 4000, validation: int = 1000, test: int = 2000, seed: int = 0, *, upright: bool = False
) -> Dataset:
    """Draw the set. Parts do not overlap: each comes from a generator of its own.

    Args:
        train: number of training images.
        validation: number of validation images.
        test: number of test images.
        seed: same seed and counts, same bytes.
        upright: without drawn rotations, shifts, scales and shears, which augmentation would only repeat.
    """
    sizes = (train, validation, test)
    draw = _draw_upright if upright else _draw
    parts = [draw(size, np.random.Generator(np.random.PCG64([seed, part]))) for part, size in enumerate(sizes)]
    return Dataset(UPRIGHT_NAME if upright else GENERATED_NAME, parts[0], parts[1], parts[2])


def corrupted_images(images: NDArray[np.uint8], seed: int = 0) -> NDArray[np.uint8]:
    """Blur, add noise to, fade or partly cover a quarter of the images each: the robustness test.

    None of it is among the article's augmentations (rotation, shift, shear, zoom, flip): robustness is asked of what
    was not trained on (Hendrycks & Dietterich, ICLR 2019).

    Args:
        images: shape (n, 28, 28), uint8.
        seed: same seed, same corruptions.

    Returns:
        Same shape and type.
    """
    rng = np.random.Generator(np.random.PCG64([seed, 99]))
    found = images.astype(np.float64)
    kinds = rng.permutation(len(images)) % 4
    found[kinds == 0] = _blurred(found[kinds == 0])
    found[kinds == 1] += _uniform(rng, -90.0, 90.0, found[kinds == 1].shape)
    found[kinds == 2] = 0.35 * found[kinds == 2] + 60.0
    corners = rng.integers(4, _SIDE_PX - 12, (len(images), 2))
    for index in np.flatnonzero(kinds == 3):
        row, column = corners[index]
        found[index, row : row + 8, column : column + 8] = 0.0
    return np.clip(np.round(found), 0, 255).astype(np.uint8)


def _blurred(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over 5 × 5 pixels; beyond the edge is black."""
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    size = images.shape[1]
    windows = [padded[:, i : i + size, j : j + size] for i in range(5) for j in range(5)]
    return np.asarray(sum(windows) / 25.0)


def _draw_upright(count: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Digits whose dots vary in place, strength and presence; contrast, stray strokes and noise as in `_draw`."""
    labels = (rng.permutation(count) % 10).astype(np.int32)
    dots = np.array([[[int(dot) for dot in line] for line in glyph.split()] for glyph in _GLYPHS])[labels]
    strength = dots * (rng.integers(0, 100, dots.shape) >= 12) * _uniform(rng, 0.4, 1.0, dots.shape)
    off = _uniform(rng, -1.3, 1.3, (2, *dots.shape))
    grid = np.arange(_SIDE_PX, dtype=np.float64)
    ink = np.zeros((count, _SIDE_PX, _SIDE_PX))
    for row in range(7):
        for column in range(5):
            y = 13.5 + (row - 3) * _DOT_PITCH_PX + off[0, :, row, column]
            x = 13.5 + (column - 2) * _DOT_PITCH_PX + off[1, :, row, column]
            squared = (grid[None, :, None] - y[:, None, None]) ** 2 + (grid[None, None, :] - x[:, None, None]) ** 2
            soft = np.clip(1.6 - squared / _DOT_RADIUS_PX**2, 0, 1)
            ink = np.maximum(ink, soft * strength[:, row, column, None, None])
    return _with_noise(255.0 * ink, rng), labels


def _draw(count: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    labels = (rng.permutation(count) % 10).astype(np.int32)
    canvas = _canvases()[labels]
    inverse = _inverse_maps(rng, count, degrees=22, scale=0.22, shear=0.22)
    x, y = _sources(inverse, _uniform(rng, -3.0, 3.0, (count, 2)), _SIDE_PX)
    return _with_noise(_bilinear(canvas, x, y), rng), labels


def _with_noise(ink: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Ink in random contrast, with a stray stroke and noise, as bytes."""
    count = len(ink)
    ink = ink * _uniform(rng, 0.45, 1.0, (count, 1, 1))
    ink = np.maximum(ink, _stray_strokes(rng, count))
    noise = _uniform(rng, -1.0, 1.0, ink.shape) * _uniform(rng, 20.0, 90.0, (count, 1, 1))
    return np.clip(np.round(ink + noise), 0, 255).astype(np.uint8)


def _uniform(rng: np.random.Generator, low: float, high: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Uniform from 16-bit integers: exact on every platform."""
    return low + (high - low) * (rng.integers(0, 65536, shape).astype(np.float64) / 65535.0)


def _canvases() -> NDArray[np.float64]:
    """Draw the ten glyphs with soft dots, shape (10, 28, 28), 0-255."""
    grid = np.arange(_SIDE_PX, dtype=np.float64)
    canvases = np.zeros((10, _SIDE_PX, _SIDE_PX))
    for digit, glyph in enumerate(_GLYPHS):
        for row, line in enumerate(glyph.split()):
            for column, dot in enumerate(line):
                if dot == "1":
                    y0 = 13.5 + (row - 3) * _DOT_PITCH_PX
                    x0 = 13.5 + (column - 2) * _DOT_PITCH_PX
                    squared = (grid[:, None] - y0) ** 2 + (grid[None, :] - x0) ** 2
                    canvases[digit] = np.maximum(canvases[digit], np.clip(1.6 - squared / _DOT_RADIUS_PX**2, 0, 1))
    return canvases * 255.0


def _inverse_maps(
    rng: np.random.Generator, count: int, *, degrees: int, scale: float, shear: float
) -> NDArray[np.float64]:
    """Inverse affine matrices, shape (count, 2, 2). Sines come from a table rounded to nine digits."""
    steps = rng.integers(-10 * degrees, 10 * degrees + 1, count) + 900
    table = np.array([[round(f(math.radians((i - 900) / 10)), 9) for f in (math.cos, math.sin)] for i in range(1801)])
    cosine, sine = table[steps, 0], table[steps, 1]
    size = 1.0 / _uniform(rng, 1.0 - scale, 1.0 + scale, (count,))
    slant = _uniform(rng, -shear, shear, (count,))
    rows = [[cosine * size, (sine - slant) * size], [-sine * size, cosine * size]]
    return np.array(rows).transpose(2, 0, 1)


def _sources(
    inverse: NDArray[np.float64], shift: NDArray[np.float64], side_px: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find where each output pixel comes from: x and y, shape (count, side, side)."""
    centre = (side_px - 1) / 2
    grid = np.arange(side_px, dtype=np.float64) - centre
    x = grid[None, None, :] - shift[:, 0, None, None]
    y = grid[None, :, None] - shift[:, 1, None, None]
    a, b, c, d = (inverse[:, i, j, None, None] for i in (0, 1) for j in (0, 1))
    return a * x + b * y + centre, c * x + d * y + centre


def _bilinear(images: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sample each image at (x, y); outside it is black."""
    count, side = images.shape[0], images.shape[1]
    padded = np.zeros((count, side + 2, side + 2))
    padded[:, 1:-1, 1:-1] = images
    x = np.clip(x + 1.0, 0.0, side + 0.999)
    y = np.clip(y + 1.0, 0.0, side + 0.999)
    column, row = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    u, v = x - column, y - row
    which = np.arange(count)[:, None, None]
    upper = padded[which, row, column] * (1 - u) + padded[which, row, column + 1] * u
    lower = padded[which, row + 1, column] * (1 - u) + padded[which, row + 1, column + 1] * u
    return np.asarray(upper * (1 - v) + lower * v)


def _stray_strokes(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Draw a short bar somewhere in each image, shape (count, 28, 28), 0-255."""
    strokes = np.zeros((count, _SIDE_PX, _SIDE_PX))
    start = rng.integers(0, _SIDE_PX - 8, (count, 2))
    upright = rng.integers(0, 2, count)
    for index, (row, column) in enumerate(start):
        if upright[index]:
            strokes[index, row : row + 8, column : column + 2] = 150.0
        else:
            strokes[index, row : row + 2, column : column + 8] = 150.0
    return strokes
