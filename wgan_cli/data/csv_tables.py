"""Tables in .csv files."""

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from wgan_cli.data.table import EXACT, Array, Table, Wanted, by_drop, stripped, tell

SNIFFED, STRAY = 1000, 0.1
"""Rows that say which columns hold text, and the share of their cells that may be a mistake in a column of numbers."""
MISSING = ("", "na", "n/a", "nan", "null", "none", "-", "--", "?", ".")
"""What people write for a missing value, in lower case."""


def column_names(path: Path) -> tuple[str, ...]:
    """The names of all columns; none without a header. Raises `ValueError`."""
    return _Layout.of(path).names or ()


def text_columns(path: Path) -> tuple[str, ...]:
    """The names of the columns whose first cells hold text, but for a few, or nothing. Raises `ValueError`."""
    layout = _Layout.of(path)
    return tuple(layout.names[i] for i in sorted(_texts(path, layout))) if layout.names else ()


@dataclass(frozen=True)
class _Layout:
    """How the lines of a .csv file are read."""

    separator: str
    first: list[str]
    """The cells of the first line."""
    has_header: bool

    @staticmethod
    def of(path: Path) -> "_Layout":
        with _open(path) as file:
            start, second = next(_lines(file), ""), next(_lines(file), "")
        is_comment = start.startswith("# ")  # as numpy.savetxt marks a header
        start = start.removeprefix("# ")
        separator = max(",;\t", key=re.sub('"[^"]*"', "", start).count)
        first = next(csv.reader([start], delimiter=separator), [])
        if _has_blanks(second or start):
            separator, first = " ", first if len(first) > 1 else start.split()
        return _Layout(separator, first, is_comment or (bool(first) and not any(map(_is_number, first))))

    @property
    def names(self) -> tuple[str, ...] | None:
        return tuple(cell.strip() for cell in self.first) if self.has_header else None

    def rows(self, path: Path) -> Iterator[tuple[int, list[str]]]:
        """The cells of each row that is not empty, with the number of its last line."""
        csv.field_size_limit(1 << 30)
        with _open(path) as file:
            reader = csv.reader(file, delimiter=self.separator, skipinitialspace=self.separator == " ")
            rows = ((reader.line_num, self._trimmed(row)) for row in reader if any(map(str.strip, row)))
            yield from itertools.islice(rows, int(self.has_header), None)

    def _trimmed(self, row: list[str]) -> list[str]:
        """The cells, without the empty one that blanks at the end of a line make."""
        return row[:-1] if self.separator == " " and not row[-1] else row

    def load(self, path: Path, chosen: Sequence[int] | None, dtype: type) -> Array:
        """The rows of the chosen columns (N, D); None for all."""
        with _open(path) as file:
            if self.has_header:
                next(_lines(file))
            delimiter = None if self.separator == " " else self.separator
            return np.loadtxt(
                file, dtype, comments=None, delimiter=delimiter, usecols=chosen, ndmin=2, quotechar='"', encoding=None
            )


def _open(path: Path) -> TextIO:
    return path.open(newline="", encoding="utf-8-sig")  # "-sig" skips a byte-order mark


def _lines(file: TextIO) -> Iterator[str]:
    return (line for line in file if line.strip())


def read_table(path: Path, wanted: Wanted) -> Table:
    """The wanted columns in float64; all of a file without a header. Raises `ValueError`."""
    layout = _Layout.of(path)
    names, chosen = layout.names, None
    if names:
        tell(path, f"its first line is taken as a header: {', '.join(names)[:200]}")
        if not all(map(wanted, names)):
            chosen = [i for i, name in enumerate(names) if wanted(name)]
    values = _numbers(path, layout, chosen)
    if names is None:
        if _may_be_header(values):
            first = ", ".join(layout.first)[:200]
            tell(path, f"has no header in words, so its first line is read as values: {first}")
        return Table(values, None)
    kept = names if chosen is None else tuple(names[i] for i in chosen)
    if len(kept) != values.shape[1]:
        raise ValueError(f"its header has {len(names)} names, but its rows have {values.shape[1]} values")
    if len(kept) > 1 and not kept[0] and np.array_equal(values[:, 0], np.arange(len(values))):
        tell(path, "its first column, which has no name and counts the rows from 0, is an index and left out")
        kept, values = kept[1:], values[:, 1:]
    return Table(values, kept, left_out=tuple(name for name in names if not wanted(name)))


def _numbers(path: Path, layout: _Layout, chosen: list[int] | None) -> Array:
    """The values (N, D) of the chosen columns; None for all."""
    if chosen == []:
        raise ValueError("none of its columns is left")
    if chosen is not None:
        _refuse_bad_cell(path, layout, chosen)  # numpy says nothing of the length of rows of which it reads a part
    try:
        values = layout.load(path, chosen, np.float64)
    except ValueError:
        _refuse_bad_cell(path, layout, chosen)
        raise
    if not values.size:
        raise ValueError("it has no rows of numbers")
    return values


def _has_blanks(line: str) -> bool:
    """Whether a line is of several numbers between blanks, as numpy.savetxt writes them."""
    cells = line.split()
    return len(cells) > 1 and "\t" not in line and all(map(_is_number, cells))


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in MISSING


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # which Python reads between digits, and numpy does not


_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)


def _may_be_header(values: Array) -> bool:
    """Whether the first row (of N, D), all numbers, may be names: nan and inf, or whole numbers that count up, such as
    wavelengths, above rows that do not. Few rows of data look so, so the log seldom mentions a file without header."""
    count_up = [bool((np.diff(row) > 0).all() and (row == np.rint(row)).all()) for row in values[:100]]
    return not np.isfinite(values[0]).all() or (count_up[0] and not all(count_up))


def _texts(path: Path, layout: _Layout) -> set[int]:
    """The numbers of the columns of whose first cells, as far as they are filled, more than a few are no numbers; and
    of those that are not filled at all."""
    texts, filled, seen = Counter[int](), Counter[int](), set[int]()
    for _, row in itertools.islice(layout.rows(path), SNIFFED):
        for column, cell in enumerate(row[: len(layout.first)]):
            seen.add(column)
            if not _is_missing(cell):
                filled[column] += 1
                texts[column] += not (_is_number(cell) or _DECIMAL_COMMA.fullmatch(cell.strip()))
    return {column for column in seen if not filled[column] or texts[column] > STRAY * filled[column]}


def _refuse_bad_cell(path: Path, layout: _Layout, chosen: Sequence[int] | None) -> None:
    """Raises `ValueError` at the first row of another length, or the first of the chosen cells without a number."""
    width = len(layout.first) if layout.has_header and chosen is not None else None
    for line, row in layout.rows(path):
        for column in range(len(row)) if chosen is None else chosen:
            if column < len(row) and not _is_number(row[column]):
                raise ValueError(_about_cell(path, layout, chosen, line, column, row[column].strip()))
        width = width or len(row)
        if len(row) != width:
            raise ValueError(f"line {line} has {len(row)} values, the lines before it {width}")


def _about_cell(path: Path, layout: _Layout, chosen: Sequence[int] | None, line: int, column: int, cell: str) -> str:
    """What is wrong with a cell that holds no number, and the remedy."""
    names, place = layout.names, f"line {line}, column {column + 1}"
    has_name = names is not None and column < len(names)
    if names is not None and has_name:
        place += f" ({names[column][:40]})"
    means = "stands for a missing value" if _is_missing(cell) else "is no number"
    what = f"{place} holds {cell[:40]!r}, which {means}" if cell else f"{place} is empty"
    if _DECIMAL_COMMA.fullmatch(cell):
        return f"{what}; write its decimals after a point"
    remedy = "fill or remove it" if _is_missing(cell) else "write numbers for its values, or remove it"
    if names is None or not has_name:
        return f"{what}; {remedy}"
    drop = by_drop(_without_numbers(path, layout, chosen), more=chosen is not None)
    if column in _texts(path, layout):
        return f"{what}; {drop} leaves all such columns out, and data.labels takes one for the class"
    return f"{what}; {remedy}, or leave all such columns out by {drop}"


def _without_numbers(path: Path, layout: _Layout, chosen: Sequence[int] | None) -> list[str]:
    """The names of all chosen columns of which a cell holds no number."""
    names, found = layout.names or (), set[int]()
    for _, row in layout.rows(path):
        cells = range(min(len(row), len(names))) if chosen is None else (i for i in chosen if i < len(row))
        found |= {i for i in cells if i not in found and not _is_number(row[i])}
    return [names[i] for i in sorted(found)]


def read_column(path: Path, name: str) -> Array:
    """One column (N,) of numbers or text. Raises `ValueError`."""
    layout = _Layout.of(path)
    names = layout.names or ()
    if name not in names:
        raise ValueError(f"has no column {name}, but {', '.join(names) or 'no header'}")
    return _as_numbers(stripped(layout.load(path, [names.index(name)], np.str_)[:, 0], name))


def _as_numbers(text: Array) -> Array:
    """The numbers of cells, if all are some; but codes such as 01, or longer ones than float64 holds, are text."""
    try:
        numbers = text.astype(np.float64)
    except ValueError:
        return text
    are_codes = any(re.match(r"[+-]?0\d", cell) for cell in np.unique(text)) or (np.abs(numbers) > EXACT).any()
    return text if are_codes else numbers
