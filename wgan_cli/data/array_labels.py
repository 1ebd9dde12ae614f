"""Classes of samples in arrays and tables: an array or a column of labels, of whole numbers or text."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wgan_cli.data.array_files import SampleFiles
from wgan_cli.data.sample_files import UNREADABLE, readable, reason_of
from wgan_cli.data.table import EXACT
from wgan_cli.data.tables import TABLES, read_column, text_columns
from wgan_cli.errors import BadInputError
from wgan_cli.paths import ending, expanded

Array = NDArray[Any]
USUAL = ("labels", "label", "y", "targets", "target", "classes", "y_train")
"""What arrays of labels are usually called."""
LONGEST_LABEL = 400
"""In bytes: 100 characters."""
MOST_CLASSES, SAMPLES_A_CLASS = 100, 5
"""At most, and on average at least, of what looks like classes."""


def labels_of(files: SampleFiles, name: str) -> Array:
    """The label of each sample, (N,) of whole numbers or text: of the array `name` in each .npz file, the column `name`
    of each table, or the .npy file `name`. Raises `BadInputError`."""
    if is_file(name):
        parts = [read_labels(expanded(name), None)]
        where = name
    else:
        parts = [read_labels(one.path, name) for one in files.opened]
        where = f"{files.opened[0].path}: {name}"
    labels = np.concatenate(parts)
    if len(labels) != len(files):
        raise BadInputError(f"{where}: holds {len(labels):,} labels, but there are {len(files):,} samples")
    return labels


def is_file(name: str) -> bool:
    """Whether labels of this name are in a file of their own."""
    return ending(name) == ".npy"


def has_labels(files: SampleFiles, name: str) -> bool:
    """Whether each file has the labels `name` of its own samples."""
    return all(name in one.left_out or name in array_names(one.path) for one in files.opened)


def array_names(path: Path) -> list[str]:
    """The names of the arrays in an .npz file; none of another file, or of one that can't be read."""
    if ending(path) != ".npz":
        return []
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return list(arrays.files)
    except UNREADABLE:
        return []  # whoever reads its samples is told


def usual_labels(path: Path, key: str | None, count: int) -> str | None:
    """The name of an array in an .npz file that looks like classes of its `count` samples, if there is one: by its
    name, or as it has few values, several samples each."""
    if len(array_names(path)) < 2:
        return None  # the only array holds the samples
    names = [name for name in _small_arrays(path, LONGEST_LABEL * count) if name not in (key, "samples")]
    usual = [name for name in USUAL if name in names]
    found = {name: labels for name in dict.fromkeys([*usual, *names]) if (labels := _labels(path, name)) is not None}
    fitting = [name for name, labels in found.items() if len(labels) == count]
    return next((name for name in fitting if _look_like_classes(found[name], 2 if name in USUAL else None)), None)


def _small_arrays(path: Path, size: int) -> list[str]:
    """The names of the arrays in an .npz file that have at most this size, in bytes."""
    with zipfile.ZipFile(path) as file:
        return [info.filename.removesuffix(".npy") for info in file.infolist() if info.file_size <= 1024 + size]


def _labels(path: Path, name: str) -> Array | None:
    """The labels of this name; None if there are none."""
    try:
        return read_labels(path, name)
    except BadInputError:
        return None


def _look_like_classes(labels: Array, samples: int | None = None) -> bool:
    """Whether there are at least so many samples of a class on average, and not too many classes."""
    count = len(np.unique(labels))
    return 2 <= count <= min(MOST_CLASSES, len(labels) / (samples or SAMPLES_A_CLASS))


def text_columns_of(path: Path) -> tuple[str, ...]:
    """The names of a table's columns that hold text; none of another file. Raises `BadInputError`."""
    if ending(path) not in TABLES or not path.is_file():
        return ()
    with readable(path):
        return text_columns(path)


def class_columns(path: Path, texts: Sequence[str]) -> list[str]:
    """Those of a table's columns of text that look like classes; none with empty cells does."""
    columns = ((name, _labels(path, name)) for name in texts)
    return [name for name, labels in columns if labels is not None and _look_like_classes(labels)]


def class_names(labels: Array) -> tuple[str, ...]:
    """The names of the classes, in the order of their values."""
    return tuple(map(str, np.unique(labels).tolist()))


def numbered(labels: Array, names: Sequence[str], where: str) -> Array:
    """The number of each label (N,) among the classes. Raises `BadInputError` for a label of none of them."""
    values, inverse = np.unique(labels, return_inverse=True)
    numbers = {name: number for number, name in enumerate(names)}
    unknown = [str(value) for value in values.tolist() if str(value) not in numbers]
    if unknown:
        known = ", ".join(names[:10])
        raise BadInputError(
            f"{where}: holds the class {unknown[0]}, which the run does not have: its first are {known}"
        )
    return np.array([numbers[str(value)] for value in values.tolist()], dtype=np.int64)[inverse.reshape(-1)]


def read_labels(path: Path, name: str | None) -> Array:
    """The labels (N,) in an .npz file's array `name`, a table's column `name`, or a .npy file. Raises
    `BadInputError`."""
    where = f"{path}: {name}" if name else str(path)
    if name is not None and ending(path) not in (".npz", *TABLES):
        both = "numpy.savez(FILE, samples=..., labels=...) writes one"
        raise BadInputError(
            f"{where}: labels are an array of the same .npz file, a column of the table, or a .npy file; {both}"
        )
    if not path.is_file():
        raise BadInputError(f"{path}: no such file")
    try:
        values = _read(path, name)
    except UNREADABLE as error:
        raise BadInputError(f"{path}: its labels can't be read ({reason_of(error)})") from error
    return _checked(values, where)


def _read(path: Path, name: str | None) -> Any:
    if name is None:
        return np.load(path, allow_pickle=False)
    if ending(path) in TABLES:
        return read_column(path, name)
    with np.load(path, allow_pickle=False) as arrays:
        if name not in arrays:
            raise ValueError(f"has no array {name}, but {', '.join(arrays.files)}")
        return arrays[name]


def _checked(values: Any, where: str) -> Array:
    if not isinstance(values, np.ndarray):
        raise BadInputError(f"{where}: holds several arrays; name it .npz")
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise BadInputError(f"{where}: has shape {values.shape}; labels are one whole number or text a sample")
    if values.dtype.kind == "f" and (values == np.rint(values)).all() and (np.abs(values) <= EXACT).all():
        values = values.astype(np.int64)
    if values.dtype.kind in "iu" and (values <= np.iinfo(np.int64).max).all():
        values = values.astype(np.int64)  # beside labels of another type, they would be joined as float64
    if values.dtype.kind not in "biuU":
        raise BadInputError(f"{where}: holds {values.dtype} values; labels are whole numbers or text")
    return values
