"""Tables in .parquet files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from wgan_cli.data.table import Array, Table, Wanted, by_drop, stripped, tell
from wgan_cli.errors import BadInputError


def column_names(path: Path) -> tuple[str, ...]:
    """The names of all columns. Raises `ValueError`."""
    with _opened(path) as file:
        return tuple(field.name for field in _fields(path, file))


def text_columns(path: Path) -> tuple[str, ...]:
    """The names of the columns that hold no numbers. Raises `ValueError`."""
    import pyarrow

    with _opened(path) as file:
        empty = {field.name: pyarrow.chunked_array([], field.type) for field in _fields(path, file)}
    return tuple(name for name, column in empty.items() if not _holds_numbers(column.to_numpy()))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file, of which nothing but its schema is read yet."""
    try:
        import pyarrow.parquet as parquet
        from pyarrow import ArrowException
    except ImportError as error:
        raise BadInputError(f"{path}: reading .parquet needs pyarrow; pip install 'wgan[parquet]'") from error
    try:
        with parquet.ParquetFile(path) as file:  # read_table is puzzled by two columns of one name
            yield file
    except ArrowException as error:
        raise ValueError(str(error)) from error


def _fields(path: Path, file: Any) -> list[Any]:
    """The name and type of each column, without the index of a pandas table."""
    schema = file.schema_arrow
    metadata = schema.pandas_metadata or {}
    index = [name for name in schema.names if name in metadata.get("index_columns", ())]
    if index:
        tell(path, f"the index of its table is left out: {', '.join(index)}")
    fields = [field for field in schema if field.name not in index]
    if not fields:
        raise ValueError("has no columns beside its index" if index else "has no columns")
    return fields


def _columns(file: Any, names: Sequence[str]) -> list[tuple[str, Any]]:
    """The columns of these names. By the name `a`, the reader finds a column `a.b` too."""
    table = file.read(columns=list(names))
    return [pair for pair in zip(table.column_names, table.columns, strict=True) if pair[0] in names]


def _holds_numbers(values: Array) -> bool:
    return values.dtype.kind in "biuf"


def _is_text(column: Any) -> bool:
    return not _holds_numbers(column.slice(0, 0).to_numpy())


def read_table(path: Path, wanted: Wanted) -> Table:
    """The wanted columns, in a type that holds all. Raises `ValueError`."""
    with _opened(path) as file:
        every = [field.name for field in _fields(path, file)]
        names = [name for name in every if wanted(name)]
        if not names:
            raise ValueError("none of its columns is left")
        chosen = _columns(file, names)
    bad = [(name, column) for name, column in chosen if _is_text(column) or column.null_count]
    if bad:
        (name, column), drop = bad[0], by_drop([name for name, _ in bad], more=len(names) < len(every))
        what, takes = f"has {column.null_count} empty cells, to be filled or removed", ""
        if _is_text(column):
            what, takes = f"holds {column.type}, which are no numbers", ", and data.labels takes one for the class"
        raise ValueError(f"column {name} {what}; {drop} leaves all such columns out{takes}")
    columns = [column.to_numpy() for _, column in chosen]
    types = tuple(values.dtype.name for values in columns)
    left_out = tuple(name for name in every if not wanted(name))
    return Table(np.stack(columns, axis=1), tuple(names), types, left_out)


def read_column(path: Path, name: str) -> Array:
    """One column (N,) of numbers or text. Raises `ValueError`."""
    with _opened(path) as file:
        names = [field.name for field in _fields(path, file)]
        if name not in names:
            raise ValueError(f"has no column {name}, but {', '.join(names)}")
        column = dict(_columns(file, [name]))[name]
    if column.null_count:
        raise ValueError(f"column {name} has {column.null_count} empty cells; fill or remove them")
    values = np.asarray(column.to_numpy())
    return values if _holds_numbers(values) else stripped(values.astype(np.str_), name)
