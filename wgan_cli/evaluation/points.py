"""Reads sets of samples as points (N, D), from files or from datasets by name."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from wgan_cli.data import find_split, split_names
from wgan_cli.data.pixels import scale
from wgan_cli.data.sample_files import ENDINGS, SampleFile, open_samples
from wgan_cli.errors import BadInputError
from wgan_cli.paths import ending, expanded

log = logging.getLogger("wgan")
SMALLEST, LARGEST = 1e-100, 1e100
"""Of the largest value of a set: squares and their sums stay within float64."""


def read_points(
    sources: Sequence[str], most: int, generator: torch.Generator, drop: Sequence[str] = ()
) -> list[Tensor]:
    """The samples of each source, a file or a name such as `mnist:test`, as points (N, D) in float64.

    Columns are in the order of the first file's, where files name theirs; those of `drop` are left out. If there are
    more than `most` samples, `most` are drawn without replacement. Bytes, which `wgan sample` writes for images, are
    scaled to [-1, 1]. Raises `BadInputError` for a source that can't be read or has values that are not finite.
    """
    datasets = {source: find_split(source) for source in sources}
    files = {source: _opened(source, drop) for source, dataset in datasets.items() if dataset is None}
    unknown = [name for name in drop if not any(name in file.left_out for file in files.values())]
    if unknown:
        raise BadInputError(f"--drop {','.join(drop)}: no table has a column {', '.join(unknown)}")
    found = []
    for source in sources:
        dataset = datasets[source]
        samples = (
            files[source].in_order_of(next(iter(files.values()))).tensor() if dataset is None else dataset.samples()
        )
        if dataset is None and samples.dtype == torch.uint8:
            log.info("%s: holds bytes, which are taken as those of images: 0 to 255 for -1 to 1", source)
        if len(samples) > most:
            log.info("%s: %d of its %d samples are drawn; --num takes more", source, most, len(samples))
            samples = samples[torch.randperm(len(samples), generator=generator)[:most]]
        found.append(_points(source, samples))
    return found


def _opened(source: str, drop: Sequence[str]) -> SampleFile:
    if ending(source) not in ENDINGS:
        raise BadInputError(f"{source}: is not a {', '.join(ENDINGS)} file, nor one of {', '.join(split_names())}")
    return open_samples(expanded(source), wanted=lambda name: name not in drop)


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
