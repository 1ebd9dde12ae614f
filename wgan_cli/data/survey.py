"""What a file or folder holds, as a run would read it, and the config lines for it."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from wgan_cli.data.array_files import CHUNK, Array, Layout
from wgan_cli.data.array_labels import class_columns, read_labels, text_columns_of, usual_labels
from wgan_cli.data.arrays import Arrays, check_dimensions
from wgan_cli.data.base import DataSpec
from wgan_cli.data.heldout import split
from wgan_cli.data.images import Images
from wgan_cli.data.picture_cache import MOST_UNREADABLE, classes_of, labels_of
from wgan_cli.data.picture_files import ENDINGS as PICTURES
from wgan_cli.data.picture_files import UNREADABLE, open_pictures, reason_of
from wgan_cli.data.sample_files import SampleFile, check_columns, open_samples
from wgan_cli.errors import BadInputError
from wgan_cli.paths import ending

MOST_COLUMNS = 20
"""Columns of a wider table are not listed one by one."""
FEWEST_TO_COUNT = 20
"""In a table with fewer rows, a column may count up by chance."""
SMALLEST_IMAGE = 8
"""The side of a grey image; bytes of fewer rows are taken for a series."""
SIDES = (28, 32, 64, 128)
"""Sizes of pictures that the shipped networks fit."""


@dataclass(frozen=True)
class Survey:
    """Facts about a file or folder, and the data kind that reads it."""

    facts: dict[str, Any]
    spec: DataSpec
    is_told: bool = False
    """Whether the user has told where the channels are."""

    def warnings(self, where: str) -> Iterator[str]:
        """What is odd about the data in `where`, or would be refused by a run."""
        facts = self.facts
        try:
            split(facts["samples"], 0.1, where)
        except BadInputError as error:
            yield str(error)
        if facts.get("unreadable"):
            share = f"a run leaves out {MOST_UNREADABLE:.0%} of all pictures at most"
            yield f"{where}: {facts['unreadable'][0]} can't be read; {share}"
        if facts.get("missing"):
            yield f"{where}: values are missing ({facts['missing']}), which no run takes; fill or remove them"
        if facts.get("columns without numbers"):
            names = ", ".join(facts["columns without numbers"])
            yield f"{where}: columns without numbers are left out by drop: {names}"
        if facts.get("may be classes"):
            first, *others = facts["may be classes"]
            yield f"{where}: labels takes {first} for the class; it could be {' or '.join(others)} as well"
        if facts.get("count up"):
            names = ", ".join(facts["count up"])
            yield f"{where}: {names} counts up from row to row, as an id does, so drop leaves it out"
        shape = facts.get("shape", [])
        if not (len(shape) == 2 and shape[0] != shape[1] and getattr(self.spec, "channels", None) == "first"):
            yield from (f"{where}: {note}" for note in self.notes())  # other series are seldom images

    def notes(self) -> Iterator[str]:
        """How samples are read, where another reading is as probable and none was asked for."""
        if self.is_told:
            return
        shape, layout = self.facts.get("shape", []), getattr(self.spec, "channels", None)
        if isinstance(self.spec, Images):
            _, height, width = self.spec.sample_shape
            if set(self.facts["sizes"]) != {f"{width} x {height}"}:
                yield f"pictures are brought to {width} x {height}; data.size changes that"
        if layout == "first" and len(shape) == 2:
            series = f"{shape[0]} channels of {shape[1]} steps"
            yield f"a sample is read as a series, {series}; channels: none reads it as a grey image"
        if layout == "none":
            yield f"a sample is read as a grey image of {shape[0]} x {shape[1]}; channels: first reads it as a series"
        if len(shape) == 1 and shape[0] > MOST_COLUMNS and not self.facts.get("column names"):
            yield f"a sample is read as {shape[0]} columns of a table; channels: none reads it as a series"

    def yaml_lines(self) -> str:
        """The `data:` line of a config."""
        fields = self.spec.model_dump(mode="json", exclude_defaults=True, exclude={"sample", "columns", "classes"})
        line = yaml.safe_dump({"kind": self.spec.kind, **fields}, default_flow_style=True, sort_keys=False, width=1000)
        return f"data: {line.strip()}"


def survey(path: Path, key: str | None = None, channels: Layout | None = None, drop: Sequence[str] = ()) -> Survey:
    """Reads a file of samples, a folder of pictures, or a .zip of one. Raises `BadInputError` for anything else.

    `channels` says where those of arrays are; None for the place that their shape and type suggest. Of a table, the
    columns `drop` are left out.
    """
    if not path.exists():
        raise BadInputError(f"{path}: no such file or folder")
    if ending(path) in PICTURES and path.is_file():
        raise BadInputError(f"{path}: is one picture; name the folder or .zip of all, such as {path.parent}")
    if drop:
        check_columns(path, drop, f"--drop {','.join(drop)}: {path}")
    if path.is_dir() or ending(path) == ".zip":
        if key is not None:
            raise BadInputError(f"{path}: --key is for .npz files alone; leave it out")
        if channels is not None:
            raise BadInputError(f"{path}: --channels is for arrays; leave it out for pictures")
        return _survey_pictures(path)
    return _survey_array(path, key, channels, drop)


def _survey_array(path: Path, key: str | None, channels: Layout | None, drop: Sequence[str]) -> Survey:
    if key is not None and ending(path) != ".npz":
        raise BadInputError(f"{path}: --key is for .npz files alone; leave it out")
    texts = [name for name in text_columns_of(path) if name not in drop]
    candidates = class_columns(path, texts)
    file = open_samples(path, key, lambda name: name not in (*texts, *drop))
    values = file.values
    sample = values.shape[1:] or (1,)
    check_dimensions(sample, path)
    if channels == "last" and len(sample) == 1:
        raise BadInputError(f"{path}: --channels last: has no meaning for samples that are plain values")
    low, high, missing = _range(values)
    facts: dict[str, Any] = {
        "kind": "arrays",
        "samples": len(values),
        "shape": list(sample),
        "type": str(values.dtype),
        "missing": missing,
    }
    if low <= high:
        facts["range"] = [low, high]
    if len(sample) == 1 and sample[0] <= MOST_COLUMNS:
        columns = values.reshape(len(values), -1)
        names = file.names or [f"x{i + 1}" for i in range(sample[0])]
        facts["columns"] = {name: _column(columns[:, i].astype(np.float64)) for i, name in enumerate(names)}
    elif file.names is not None:
        facts["column names"] = list(file.names)
    others, counting = [name for name in texts if name not in candidates[:1]], _counting(file)
    facts |= {"columns without numbers": others} if others else {}
    facts |= {"may be classes": candidates} if len(candidates) > 1 else {}
    facts |= {"count up": counting} if counting else {}
    layout = _layout(sample, values.dtype) | ({} if channels is None else {"channels": channels})
    kept = None if file.names is None else tuple(name for name in file.names if name not in counting)
    sample = sample if kept is None else (len(kept),)
    spec = Arrays(path=str(path), key=key, sample=sample, columns=kept, drop=(*drop, *others, *counting), **layout)
    labels = next(iter(candidates), None) or usual_labels(path, key, len(values))
    if labels is None:
        return Survey(facts, spec, channels is not None)
    values, counts = np.unique(read_labels(path, labels), return_counts=True)
    facts["classes"] = dict(zip(map(str, values.tolist()), counts.tolist(), strict=True))
    labelled = spec.model_copy(update={"labels": labels, "classes": tuple(facts["classes"])})
    return Survey(facts, labelled, channels is not None)


def _layout(sample: tuple[int, ...], dtype: np.dtype[Any]) -> dict[str, Any]:
    """The fields that say how an array is meant, where its shape and type leave little doubt: bytes are images."""
    fields: dict[str, Any] = {}
    if len(sample) == 3 and sample[-1] in (1, 3, 4) and sample[0] not in (1, 3, 4):
        fields["channels"] = "last"
    if len(sample) == 2 and dtype == np.uint8 and min(sample) >= SMALLEST_IMAGE:
        fields["channels"] = "none"
    if len(sample) > 1 and dtype == np.uint8:
        fields["scale"] = "minmax"
    return fields


def _range(values: Array) -> tuple[float, float, int]:
    """The least and greatest of the finite values, and how many others there are; reads some at a time."""
    low, high, missing = math.inf, -math.inf, 0
    step = max(1, CHUNK // math.prod(values.shape[1:]))
    for start in range(0, len(values), step):
        chunk = values[start : start + step]
        finite = chunk[np.isfinite(chunk)]
        missing += chunk.size - finite.size
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return low, high, missing


def _counting(file: SampleFile) -> list[str]:
    """The columns of a table that seem to be ids, beside others that are none."""
    values = file.values
    if file.names is None or len(values) < FEWEST_TO_COUNT:
        return []
    found = [name for i, name in enumerate(file.names) if _counts_up(values[:, i])]
    return found if len(found) < len(file.names) else []


def _counts_up(values: Array) -> bool:
    """Whether the values (N,) are whole numbers of which each is larger than the one before."""
    with np.errstate(invalid="ignore"):  # of missing values
        return bool((values == np.rint(values)).all() and (values[1:] > values[:-1]).all())


def _column(values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return {"missing": len(values)}
    return {
        "mean": float(finite.mean()),
        "std": float(finite.std()),
        "least": float(finite.min()),
        "greatest": float(finite.max()),
        "missing": len(values) - len(finite),
        "whole": bool((finite == np.rint(finite)).all()),
    }


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
                sizes.append(image.size)
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


def _survey_pictures(path: Path) -> Survey:
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
