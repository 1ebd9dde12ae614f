"""Files of samples as users and `wgan sample` write them: .npy, .npz, .pt, .csv and .parquet."""

import csv
import logging
import re
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wgan_cli.errors import BadInputError
from wgan_cli.files import load_plain
from wgan_cli.paths import ending

log = logging.getLogger("wgan")
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
        own, missing = (
            ", ".join([name for name in one if name not in two][:10])
            for one, two in ((self.names, other.names), (other.names, self.names))
        )
        if own or missing:
            raise BadInputError(
                f"{self.path}: has the columns {own}, where {other.path} has {missing}; both need the same columns"
            )
        order = [self.names.index(name) for name in other.names]
        types = tuple(self.types[i] for i in order) if self.types else None
        return SampleFile(self.path, self.values[:, order], other.names, types)


def open_samples(path: Path, key: str | None = None) -> SampleFile:
    """The samples of a file, one a row.

    `.npy`; `.npz` (the array `key`, else `samples`, else the only one); `.pt` (a tensor); `.csv` (numbers, separated
    by commas, semicolons, tabs or blanks, with or without a header); `.parquet` (numbers, needs pyarrow). Raises
    `BadInputError` for anything else.
    """
    kind = ending(path)
    if kind not in _READERS:
        raise BadInputError(f"{path}: is not a {', '.join(ENDINGS)} file")
    if not path.is_file():
        raise BadInputError(f"{path}: no such file")
    try:
        with warnings.catch_warnings(action="ignore"):  # of files that are refused below
            found = _READERS[kind](path, key)
    except UNREADABLE as error:
        reason = " ".join(str(error).partition("\n")[0].split()) or type(error).__name__
        raise BadInputError(f"{path}: can't be read as {kind} ({reason})") from error
    values = found.values
    if values.ndim == 0 or not values.size:
        raise BadInputError(f"{path}: holds no samples: its shape is {values.shape}")
    if values.dtype.kind not in "biuf":
        raise BadInputError(f"{path}: holds {values.dtype} values; only booleans, whole and real numbers are possible")
    check_distinct(found.names or (), str(path))
    return found


def check_distinct(names: Sequence[str], where: str) -> None:
    """Raises `BadInputError`, which begins with `where`, if two columns have one name."""
    repeated = [repr(name) for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise BadInputError(f"{where}: several columns are called {', '.join(repeated[:10])}; give each its own name")


def _read_npy(path: Path, _: str | None) -> SampleFile:
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(values, np.ndarray):
        values.close()
        raise ValueError("it holds several arrays; name it .npz")
    return SampleFile(path, values)


def _read_npz(path: Path, key: str | None) -> SampleFile:
    file = np.load(path, allow_pickle=False)
    if isinstance(file, np.ndarray):
        raise ValueError("it holds one array alone; name it .npy")
    with file:
        if key is not None and key not in file:
            raise ValueError(f"has no array {key}, but {', '.join(file.files) or 'none at all'}")
        if key is None and "samples" not in file and len(file.files) != 1:
            raise ValueError(f"has no array `samples`, but {', '.join(file.files) or 'none at all'}; name one by `key`")
        return SampleFile(path, file[key or ("samples" if "samples" in file else file.files[0])])


def _read_pt(path: Path, _: str | None) -> SampleFile:
    content = load_plain(path)
    if not isinstance(content, Tensor):
        raise ValueError(f"holds a {type(content).__name__}, not a tensor")
    if content.layout != torch.strided or content.is_quantized:
        raise ValueError("holds a sparse or quantised tensor; save a dense one")
    values = content.float() if content.dtype == torch.bfloat16 else content
    return SampleFile(path, values.numpy(force=True))


_told: set[tuple[Path, str]] = set()


def _tell(path: Path, what: str) -> None:
    """Logs how a file was read, once a process: a run opens its files twice."""
    if (path.absolute(), what) not in _told:
        _told.add((path.absolute(), what))
        log.info("%s: %s", path, what)


def _read_csv(path: Path, _: str | None) -> SampleFile:
    """Numbers in float64."""
    with path.open(newline="", encoding="utf-8-sig") as file:  # "-sig" skips a byte-order mark
        lines = (line for line in file if line.strip())
        start, second = next(lines, ""), next(lines, "")
        is_comment = start.startswith("# ")  # as numpy.savetxt marks a header
        start = start.removeprefix("# ")
        separator = max(",;\t", key=re.sub('"[^"]*"', "", start).count)
        first = next(csv.reader([start], delimiter=separator), [])
        if _has_blanks(second or start):
            separator, first = " ", first if len(first) > 1 else start.split()
        has_header = is_comment or (bool(first) and not any(map(_is_number, first)))
        file.seek(0)
        if has_header:
            next(line for line in file if line.strip())
            _tell(path, f"its first line is taken as a header: {', '.join(first)[:200]}")
        try:
            values = np.loadtxt(
                file,
                delimiter=None if separator == " " else separator,
                quotechar='"',
                ndmin=2,
                comments=None,
                dtype=np.float64,
            )
        except ValueError as error:
            raise ValueError(_first_bad_cell(path, separator, has_header) or str(error)) from error
    if not values.size:
        raise ValueError("it has no rows of numbers")
    if has_header and len(first) != values.shape[1]:
        raise ValueError(f"its header has {len(first)} names, but its rows have {values.shape[1]} values")
    if not has_header:
        if _may_be_header(values):
            _tell(path, f"has no header in words, so its first line is read as values: {', '.join(first)[:200]}")
        return SampleFile(path, values)
    names = tuple(cell.strip() for cell in first)
    if len(names) > 1 and not names[0] and np.array_equal(values[:, 0], np.arange(len(values))):
        _tell(path, "its first column, which has no name and counts the rows from 0, is an index and left out")
        names, values = names[1:], values[:, 1:]
    return SampleFile(path, values, names)


def _has_blanks(line: str) -> bool:
    """Whether a line is of several numbers between blanks, as numpy.savetxt writes them."""
    cells = line.split()
    return len(cells) > 1 and "\t" not in line and all(map(_is_number, cells))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _may_be_header(values: Array) -> bool:
    """Whether the first row (of N, D), all numbers, may be names: nan and inf, or whole numbers that count up, such as
    wavelengths, above rows that do not. Few rows of data look so, so the log seldom mentions a file without header."""
    count_up = [bool((np.diff(row) > 0).all() and (row == np.rint(row)).all()) for row in values[:100]]
    return not np.isfinite(values[0]).all() or (count_up[0] and not all(count_up))


def _first_bad_cell(path: Path, separator: str, has_header: bool) -> str | None:
    """Where and why a CSV file can't be read: the first cell without a number, or a row of another length."""
    csv.field_size_limit(1 << 30)
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter=separator, skipinitialspace=separator == " ")
        rows, width = filter(None, reader), None
        names = next(rows, []) if has_header else []
        for row in rows:
            for column, cell in enumerate(row, 1):
                if not _is_number(cell):
                    name = f" ({names[column - 1].strip()[:40]})" if column <= len(names) else ""
                    what = "is empty" if not cell.strip() else f"holds {cell.strip()[:40]!r}, which is no number"
                    remedy = "fill or remove it" if not cell.strip() else "write numbers for its values, or remove it"
                    return f"line {reader.line_num}, column {column}{name} {what}; {remedy}"
            width = width or len(row)
            if len(row) != width:
                return f"line {reader.line_num} has {len(row)} values, the lines before it {width}"
    return None


def _read_parquet(path: Path, _: str | None) -> SampleFile:
    try:
        import pyarrow.parquet as parquet
        from pyarrow import ArrowException
    except ImportError as error:
        raise BadInputError(f"{path}: reading .parquet needs pyarrow; pip install 'wgan[parquet]'") from error
    try:
        with parquet.ParquetFile(path) as file:  # read_table is puzzled by two columns of one name
            table = file.read()
    except ArrowException as error:
        raise ValueError(str(error)) from error
    metadata = table.schema.pandas_metadata or {}
    index = [name for name in table.column_names if name in metadata.get("index_columns", ())]
    if index:
        _tell(path, f"the index of its table is left out: {', '.join(index)}")
    named = [pair for pair in zip(table.column_names, table.columns, strict=True) if pair[0] not in index]
    if not named:
        raise ValueError("has no columns beside its index" if index else "has no columns")
    columns = []
    for name, column in named:
        if column.null_count:
            raise ValueError(f"column {name} has {column.null_count} empty cells; fill or remove them")
        values = column.to_numpy()
        if values.dtype.kind not in "biuf":
            raise ValueError(f"column {name} holds {column.type}, which are no numbers; remove it")
        columns.append(values)
    types = tuple(values.dtype.name for values in columns)
    return SampleFile(path, np.stack(columns, axis=1), tuple(name for name, _ in named), types)


_READERS: dict[str, Callable[[Path, str | None], SampleFile]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".pt": _read_pt,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}

ENDINGS = tuple(_READERS)
