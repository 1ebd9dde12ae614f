"""What a folder or .zip of pictures holds."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wgan_cli.data.images import Images
from wgan_cli.data.picture_cache import classes_of, labels_of, upright_size
from wgan_cli.data.picture_files import UNREADABLE, open_pictures, reason_of
from wgan_cli.data.survey.facts import Survey
from wgan_cli.errors import BadInputError

SIDES = (28, 32, 64, 128)
"""Sizes of pictures that the shipped networks fit."""


@dataclass(frozen=True)
class _Headers:
    """How many pictures have each size (width, height) and mode, and why others can't be read."""

    names: list[str]
    sizes: Counter[tuple[int, int]]
    modes: Counter[str]
    unreadable: dict[str, str]

    @staticmethod
    def read(path: Path) -> "_Headers":
        """Of a folder or .zip. Raises `BadInputError` if none can be read."""
        sizes: list[tuple[int, int]] = []
        modes: list[str] = []
        unreadable: dict[str, str] = {}
        with open_pictures(path) as pictures:
            names = list(pictures.stamps)
            for name in names:
                try:
                    image = pictures.image(name)
                except UNREADABLE as error:
                    unreadable[name] = reason_of(error)
                    continue
                sizes.append(upright_size(image))
                modes.append(image.mode)
        if not sizes:
            name, reason = next(iter(unreadable.items()))
            raise BadInputError(f"{path}: none of its {len(names)} pictures can be read; first: {name} ({reason})")
        return _Headers(names, Counter(sizes), Counter(modes), unreadable)

    @property
    def channels(self) -> int:
        if set(self.modes) <= {"L", "1", "I;16", "I;16B", "I"}:
            return 1
        return 4 if set(self.modes) <= {"RGBA", "LA"} else 3


def picture_shape(path: Path) -> tuple[int, int, int]:
    """The shape (C, H, W) of the pictures in a folder or .zip. Raises `BadInputError` if they have several sizes."""
    headers = _Headers.read(path)
    if len(headers.sizes) > 1:
        some = " and ".join(f"{width} x {height}" for width, height in list(headers.sizes)[:2])
        raise BadInputError(f"{path}: its pictures have {len(headers.sizes)} sizes, such as {some}; give all the same")
    ((width, height),) = headers.sizes
    return headers.channels, height, width


def survey_pictures(path: Path) -> Survey:
    """Of a folder or .zip of pictures. Raises `BadInputError` if none can be read."""
    headers = _Headers.read(path)
    names, sizes, unreadable = headers.names, headers.sizes, headers.unreadable
    classes = classes_of(names)
    labels = labels_of(names, classes, str(path))
    facts: dict[str, Any] = {
        "kind": "images",
        "samples": sizes.total(),
        "sizes": {f"{width} x {height}": count for (width, height), count in sizes.most_common(10)},
        "modes": dict(headers.modes.most_common(10)),
        "unreadable": list(unreadable)[:10],
    }
    if labels is not None:
        readable = [label for name, label in zip(names, labels.tolist(), strict=True) if name not in unreadable]
        facts["classes"] = dict(zip(classes, np.bincount(readable, minlength=len(classes)).tolist(), strict=True))
    spec = {"path": str(path), "size": _fitting(sizes), "channels": headers.channels}
    return Survey(facts, Images.model_validate(spec))


def _fitting(sizes: Counter[tuple[int, int]]) -> int | tuple[int, int]:
    """What pictures (width, height) are brought to: their own [height, width], if all have one that networks fit, else
    the side of a square."""
    (width, height), *others = sizes
    if not others and max(width, height) <= SIDES[-1] and width % 4 == height % 4 == 0:
        return height if width == height else (height, width)
    side = int(np.median([min(size) for size in sizes.elements()]))
    return min(SIDES, key=lambda candidate: abs(candidate - side))
