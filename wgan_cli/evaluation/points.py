"""Reads sets of samples as points (N, D), from files, folders of pictures, or datasets by name."""

import logging
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wgan_cli.data import find_split, split_names
from wgan_cli.data.array_labels import array_names, text_columns_of
from wgan_cli.data.picture_cache import decode_pictures
from wgan_cli.data.pixels import scale
from wgan_cli.data.sample_files import ENDINGS, SampleFile, open_samples
from wgan_cli.data.survey import picture_shape
from wgan_cli.errors import BadInputError
from wgan_cli.paths import ending, expanded

log = logging.getLogger("wgan")
SMALLEST, LARGEST = 1e-100, 1e100
"""Of the largest value of a set: squares and their sums stay within float64."""


MOSTLY = 0.9
"""The share of the variance above which one column makes up nearly all of a distance."""


class Points(NamedTuple):
    """Sets of samples as points (N, D) in float64, and the names of their columns where files tell them."""

    sets: Sequence[Tensor]
    names: Sequence[str] | None = None

    def scaled(self) -> "Points":
        """The sets with each column divided by its standard deviation in the last of them. Columns that are constant
        there are left as they are."""
        spread = _spread(self.sets[-1])
        return self._replace(sets=[points / torch.where(spread > 0, spread, 1) for points in self.sets])

    def tell_of_widest(self) -> None:
        """Logs if one column is so wide that the distance is nearly all of that one."""
        variances = _spread(self.sets[-1]) ** 2
        share, widest = (variances / variances.sum()).max(0)
        if (variances > 0).sum() > 1 and share > MOSTLY:
            name = self.names[int(widest)] if self.names else f"x{widest + 1}"
            log.warning(
                "the distance is nearly all of column %s, which has %.3g %% of B's variance; --scale divides each "
                "column by its standard deviation",
                *(name, 100 * share.item()),
            )


def _spread(points: Tensor) -> Tensor:
    """The standard deviation of each column; 0 of a single point."""
    return points.std(0, correction=0)


def read_points(
    sources: Sequence[str],
    most: int,
    generator: torch.Generator,
    drop: Sequence[str] = (),
    key: str | None = None,
) -> Points:
    """The samples of each source as points: of a file, a folder or .zip of pictures, or a dataset by name, such as
    `mnist:test`.

    Columns are in the order of the first file's, where files name theirs; those of `drop` and of text are left out. Of
    an .npz file that has an array `key`, the samples are these. If there are more than `most` samples, `most` are drawn
    without replacement. Bytes, which `wgan sample` writes for images, are scaled to [-1, 1]. Raises `BadInputError` for
    a source that can't be read or has values that are not finite.
    """
    if key is not None and not any(key in array_names(expanded(source)) for source in sources):
        raise BadInputError(f"--key {key}: no .npz file has an array of this name")
    files = {source: _opened(source, drop, key) for source in sources if _is_file(source)}
    unknown = [name for name in drop if not any(name in file.left_out for file in files.values())]
    if unknown:
        raise BadInputError(f"--drop {','.join(drop)}: no table has a column {', '.join(unknown)}")
    found: list[Tensor] = []
    shapes: list[tuple[int, ...]] = []
    for source in sources:
        if source in files:
            samples = files[source].in_order_of(next(iter(files.values()))).tensor()
            if samples.dtype == torch.uint8:
                log.info("%s: holds bytes, which are taken as those of images: 0 to 255 for -1 to 1", source)
        else:
            samples = _images(source)
        shapes.append(tuple(samples.shape[1:]))
        _check_layout(source, shapes[-1], sources[0], shapes[0])
        if len(samples) > most:
            log.info("%s: %d of its %d samples are drawn; --num takes more", source, most, len(samples))
            samples = samples[torch.randperm(len(samples), generator=generator)[:most]]
        found.append(_points(source, samples))
    return Points(found, next((file.names for file in files.values() if file.names), None))


def _is_file(source: str) -> bool:
    """Whether a source is a file of samples, and neither a dataset by name nor a folder or .zip of pictures."""
    return find_split(source) is None and not expanded(source).is_dir() and ending(source) != ".zip"


def _opened(source: str, drop: Sequence[str], key: str | None) -> SampleFile:
    if ending(source) not in ENDINGS:
        kinds = f"{', '.join(ENDINGS)} file, nor a folder or .zip of pictures"
        raise BadInputError(f"{source}: is not a {kinds}, nor one of {', '.join(split_names())}")
    path = expanded(source)
    own = key if key in array_names(path) else None
    texts = [name for name in text_columns_of(path) if name not in drop]
    if texts:
        log.warning("%s: columns without numbers are left out: %s", source, ", ".join(texts))
    return open_samples(path, own, wanted=lambda name: name not in (*drop, *texts))


def _images(source: str) -> Tensor:
    """The images (N, H, W, C) of a dataset by name, or of a folder or .zip of pictures."""
    dataset = find_split(source)
    if dataset is not None:
        return dataset.samples().movedim(1, -1)
    path = expanded(source)
    return torch.from_numpy(np.array(decode_pictures(path, picture_shape(path)).pixels)).movedim(1, -1)


def _check_layout(source: str, shape: tuple[int, ...], first: str, other: tuple[int, ...]) -> None:
    """Raises `BadInputError` for another number of values, and for as many in another order, such as (3, 32, 32) and
    (32, 32, 3)."""
    one, two = ([size for size in sizes if size > 1] for sizes in (shape, other))
    remedy = None
    if one != two and sorted(one) == sorted(two):
        remedy = "bring both into one order, which is (height, width, channels) for images"
    elif math.prod(shape) != math.prod(other):
        remedy = "both need as many values"
    if remedy:
        raise BadInputError(f"{source}: its samples have shape {shape}, those of {first} {other}; {remedy}")


def _points(source: str, samples: Tensor) -> Tensor:
    points = scale(samples).double().reshape(len(samples), -1)
    if not points.isfinite().all():
        raise BadInputError(f"{source}: holds values that are not finite")
    largest = points.abs().max().item()
    if largest and not SMALLEST <= largest <= LARGEST:
        raise BadInputError(
            f"{source}: its largest value is {largest:.1e}, whose square is no float64; divide all sets by the "
            "same number"
        )
    return points
