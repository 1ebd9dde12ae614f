"""Files of samples as users and `wgan sample` write them: .npy, .npz, .pt, .csv and .parquet."""

import csv
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wgan_cli.data.table import Wanted, by_drop
from wgan_cli.data.tables import TABLES, column_names, read_table
from wgan_cli.errors import BadInputError
from wgan_cli.files import load_plain
from wgan_cli.paths import ending

Array = NDArray[Any]
UNREADABLE = (
    *(OSError, ValueError, TypeError, EOFError, RuntimeError, MemoryError, OverflowError),
    *(csv.Error, zipfile.BadZipFile, zlib.error, TokenError),
)
"""What the readers raise for a file that is damaged, or of another format: all seen on flipped bits."""


@dataclass(frozen=True)
class SampleFile:
    """The samples (N, ...) of one file in its own type; a .npy is memory-mapped, others are in memory."""

    path: Path
    values: Array
    names: tuple[str, ...] | None = None
    """The names of the columns, where the file has some."""
    types: tuple[str, ...] | None = None
    """The names of the columns' own types, where the file has one for each; `values` has one that holds all."""
    left_out: tuple[str, ...] = ()
    """The names of the columns of a table that were not wanted."""

    @property
    def sample(self) -> tuple[int, ...]:
        """The shape of one sample; plain numbers (N,) are as good as one column (N, 1)."""
        return self.values.shape[1:] or (1,)

    def tensor(self) -> Tensor:
        """The samples on the CPU, in the file's own type; torch has no longdouble, which becomes float64."""
        is_longdouble = self.values.dtype.type is np.longdouble
        native = np.dtype(np.float64) if is_longdouble else self.values.dtype.newbyteorder("=")
        return torch.from_numpy(np.array(self.values, native))

    def in_order_of(self, other: "SampleFile") -> "SampleFile":
        """The same samples, with columns in the order of another file's; without names in both, as they stand.

        Raises `BadInputError` if the names are others.
        """
        if self.names is None or other.names is None or self.names == other.names:
            return self
        lacking = {
            one.path: [name for name in two.names or () if name not in (one.names or ())]
            for one, two in ((self, other), (other, self))
        }
        if any(lacking.values()):
            told = ", and ".join(f"{path} has no {', '.join(names)}" for path, names in lacking.items() if names)
            several = [name for names in lacking.values() for name in names]
            remedy = by_drop(several, more=bool(self.left_out or other.left_out))
            raise BadInputError(f"{told}, but both need the same columns; {remedy} leaves them out")
        order = [self.names.index(name) for name in other.names]
        types = tuple(self.types[i] for i in order) if self.types else None
        return replace(self, values=self.values[:, order], names=other.names, types=types)


def open_samples(path: Path, key: str | None = None, wanted: Wanted = lambda _: True) -> SampleFile:
    """The samples of a file, one a row; of a table with names, the `wanted` columns.

    `.npy`; `.npz` (the array `key`, else `samples`, else the only one); `.pt` (a tensor); `.csv` and `.tsv` (numbers,
    separated by commas, semicolons, tabs or blanks, with or without a header); `.parquet` (numbers, needs pyarrow).
    Raises `BadInputError` for anything else.
    """
    kind = ending(path)
    if kind not in ENDINGS:
        raise BadInputError(f"{path}: is not a {', '.join(ENDINGS)} file")
    if not path.is_file():
        raise BadInputError(f"{path}: no such file")
    with readable(path), warnings.catch_warnings(action="ignore"):  # of files that are refused below
        if kind in TABLES:
            table = read_table(path, wanted)
            found = SampleFile(path, table.values, table.names, table.types, table.left_out)
        else:
            found = SampleFile(path, _READERS[kind](path, key))
    values = found.values
    if values.ndim == 0 or not values.size:
        raise BadInputError(f"{path}: holds no samples: its shape is {values.shape}")
    if values.dtype.kind not in "biuf":
        raise BadInputError(f"{path}: holds {values.dtype} values; only booleans, whole and real numbers are possible")
    check_distinct((*(found.names or ()), *found.left_out), str(path))
    return found


def check_columns(path: Path, names: Sequence[str], where: str) -> None:
    """Raises `BadInputError`, which begins with `where`, for names of no column of the file."""
    if not path.is_file():
        raise BadInputError(f"{path}: no such file")
    with readable(path):
        columns = column_names(path) if ending(path) in TABLES else ()
    absent = [name for name in names if name not in columns]
    if absent:
        known = f"its columns are {', '.join(columns)}" if columns else "it is no table with a header"
        raise BadInputError(f"{where}: has no column {', '.join(absent)}; {known}")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raises `BadInputError` for what a reader raises of the file at `path`."""
    try:
        yield
    except UNREADABLE as error:
        raise BadInputError(f"{path}: can't be read as {ending(path)} ({reason_of(error)})") from error


_REASONS = {
    "allow_pickle": "it holds Python objects, which could run code; save plain numbers",
    "mmap length": "damaged: it is shorter than its header says",
    "not a zip file": "damaged: it is no zip archive, or not a whole one",
    "No data left": "damaged: it is empty",
    "codec can't decode": "it is no UTF-8 text; save it as UTF-8",
}
"""What readers mean, by a part of what they say."""


def reason_of(error: BaseException) -> str:
    """What a reader says in its first line, in words for users."""
    said = " ".join(str(error).partition("\n")[0].split()) or type(error).__name__
    meant = [reason for part, reason in _REASONS.items() if part in said]
    return meant[0] if meant else said


def check_distinct(names: Sequence[str], where: str) -> None:
    """Raises `BadInputError`, which begins with `where`, if two columns have one name."""
    repeated = [repr(name) for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise BadInputError(f"{where}: several columns are called {', '.join(repeated[:10])}; give each its own name")


def _read_npy(path: Path, _: str | None) -> Array:
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(values, np.ndarray):
        values.close()
        raise ValueError("it holds several arrays; name it .npz")
    return values


def _read_npz(path: Path, key: str | None) -> Array:
    file = np.load(path, allow_pickle=False)
    if isinstance(file, np.ndarray):
        raise ValueError("it holds one array alone; name it .npy")
    with file:
        if key is not None and key not in file:
            raise ValueError(f"has no array {key}, but {', '.join(file.files) or 'none at all'}")
        if key is None and "samples" not in file and len(file.files) != 1:
            raise ValueError(
                f"has no array `samples`, but {', '.join(file.files) or 'none at all'}; name one by data.key or --key"
            )
        return np.asarray(file[key or ("samples" if "samples" in file else file.files[0])])


def _read_pt(path: Path, _: str | None) -> Array:
    content = load_plain(path)
    if not isinstance(content, Tensor):
        raise ValueError(f"holds a {type(content).__name__}, not a tensor")
    if content.layout != torch.strided or content.is_quantized:
        raise ValueError("holds a sparse or quantised tensor; save a dense one")
    values = content.float() if content.dtype == torch.bfloat16 else content
    return np.asarray(values.numpy(force=True))


_READERS: dict[str, Callable[[Path, str | None], Array]] = {".npy": _read_npy, ".npz": _read_npz, ".pt": _read_pt}
ENDINGS = (*_READERS, *TABLES)
