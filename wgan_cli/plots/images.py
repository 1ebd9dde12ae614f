"""Grids of images, with words beside them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from wgan_cli.data.pixels import Pixels, scale, to_pixels
from wgan_cli.plots.scene import Scene, printable

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

MOST_IMAGES = 100
"""Of each side, where generated images stand beside real ones."""
WORD_HEIGHT = 14
"""In pixels, of a line of text."""
LONGEST_NAME = 24
"""In characters, of a row's name; the rest of a longer one is cut off."""
PADDING = 2
"""In pixels, around each image."""
SMALLEST, LARGEST = 24, 512
"""The side of the smallest images that are drawn as they are; each pixel of smaller ones becomes a square of some, if
the longer side is at most `LARGEST` then."""


def image_scene(scene: Scene) -> Scene | None:
    """The scene as one of images in [-1, 1]: of images, or of byte arrays in 1, 3 or 4 channels. None for others."""

    def pictures(samples: Tensor) -> Tensor:
        return scale(torch.from_numpy(np.ascontiguousarray(scene.channels_first(scene.decode(samples)))))

    if scene.data.view == "images":
        return scene
    if scene.data.view != "fields" or scene.data.sample_shape[0] not in (1, 3, 4):
        return None
    if scene.decode(scene.samples[:1]).dtype != np.uint8:
        return None
    if scene.real is None:
        return replace(scene, samples=pictures(scene.samples))
    return replace(scene, samples=pictures(scene.samples[:MOST_IMAGES]), real=pictures(scene.real[:MOST_IMAGES]))


def images_picture(scene: Scene) -> Pixels:
    """Generated images, beside real ones if the scene has some; a row a class has the class's name on its left."""
    if scene.real is not None:
        sides = (_enlarged(side[:MOST_IMAGES]) for side in (scene.samples, scene.real))
        return _beside(*(image_grid(side, scene.columns) for side in sides))
    samples = _enlarged(scene.samples)
    grid = image_grid(samples, scene.columns)
    if scene.columns is None or scene.classes is None or len(set(scene.classes)) < 2:
        return grid
    return np.concatenate([_names(scene.classes[:: scene.columns], grid, samples.shape[-2] + PADDING), grid], axis=1)


def _enlarged(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    factor = min(math.ceil(SMALLEST / min(height, width)), LARGEST // max(height, width))
    return images.repeat_interleave(factor, -2).repeat_interleave(factor, -1) if factor > 1 else images


def image_grid(images: Tensor, columns: int | None = None) -> Pixels:
    """Images (N, C, H, W) in [-1, 1] as one grid, near-square or with so many columns, row by row: (H, W, C)."""
    from torchvision.utils import make_grid

    columns = columns or math.ceil(math.sqrt(len(images)))
    return to_pixels(make_grid(images.cpu(), nrow=columns, padding=PADDING, pad_value=1.0)[None])[0]


def _beside(left: Pixels, right: Pixels) -> Pixels:
    """Two grids with a white gap between them and a word above each, the generated one on the left."""
    height = max(len(left), len(right))
    padded = [
        np.concatenate(
            [
                _text([(word, 2, 1)], WORD_HEIGHT, *side.shape[1:]),
                np.pad(side, ((0, height - len(side)), (0, 0), (0, 0)), constant_values=255),
            ]
        )
        for word, side in (("generated", left), ("real", right))
    ]
    gap = np.full((len(padded[0]), 16, left.shape[2]), 255, dtype=np.uint8)
    return np.concatenate([padded[0], gap, padded[1]], axis=1)


def _names(names: Sequence[str], grid: Pixels, row: int) -> Pixels:
    """The name of each row of a grid, each `row` pixels high, at half of its height."""
    lines = map(printable, names)
    short = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in lines]
    width = 8 + max(math.ceil(_font().getlength(name)) for name in short)
    at = [(name, 4, PADDING + i * row + (row - WORD_HEIGHT) // 2) for i, name in enumerate(short)]
    return _text(at, len(grid), width, grid.shape[2])


def _text(words: Sequence[tuple[str, int, int]], height: int, width: int, channels: int) -> Pixels:
    """Words in black on white, each with the left and upper end of its line in pixels: (H, W, C)."""
    from PIL import Image, ImageDraw

    page = Image.new("L", (width, height), 255)
    for word, left, top in words:
        ImageDraw.Draw(page).text((left, top), word, fill=0, font=_font())
    pixels = np.repeat(np.asarray(page)[:, :, None], channels, axis=2)
    if channels == 4:
        pixels[:, :, 3] = 255
    return pixels


@cache
def _font() -> "FreeTypeFont":
    """matplotlib's own, which has Latin, Greek and Cyrillic letters on every system."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), 10)
