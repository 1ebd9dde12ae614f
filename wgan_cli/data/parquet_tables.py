"""Tables in .parquet files."""

from pathlib import Path
from typing import Any

import numpy as np

from wgan_cli.data.table import Array, Table, Wanted, stripped, tell
from wgan_cli.errors import BadInputError


def column_names(path: Path) -> tuple[str, ...]:
    """The names of all columns. Raises `ValueError`."""
    return tuple(name for name, _ in _columns(path))


def text_columns(path: Path) -> tuple[str, ...]:
    """The names of the columns that hold no numbers. Raises `ValueError`."""
    return tuple(name for name, column in _columns(path) if not _holds_numbers(column.slice(0, 0).to_numpy()))


def _columns(path: Path) -> list[tuple[str, Any]]:
    """The columns of a file by name, without the index of a pandas table."""
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
        tell(path, f"the index of its table is left out: {', '.join(index)}")
    named = [pair for pair in zip(table.column_names, table.columns, strict=True) if pair[0] not in index]
    if not named:
        raise ValueError("has no columns beside its index" if index else "has no columns")
    return named


def _holds_numbers(values: Array) -> bool:
    return values.dtype.kind in "biuf"


def read_table(path: Path, wanted: Wanted) -> Table:
    """The wanted columns, in a type that holds all. Raises `ValueError`."""
    named = _columns(path)
    chosen = [pair for pair in named if wanted(pair[0])]
    if not chosen:
        raise ValueError("none of its columns is left")
    columns = []
    for name, column in chosen:
        if column.null_count:
            remedy = f"fill or remove them, or leave the column out by drop: [{name}]"
            raise ValueError(f"column {name} has {column.null_count} empty cells; {remedy}")
        values = column.to_numpy()
        if not _holds_numbers(values):
            raise ValueError(f"column {name} holds {column.type}, which are no numbers; drop: [{name}] leaves it out")
        columns.append(values)
    types = tuple(values.dtype.name for values in columns)
    names, left_out = ([name for name, _ in named if wanted(name) is is_wanted] for is_wanted in (True, False))
    return Table(np.stack(columns, axis=1), tuple(names), types, tuple(left_out))


def read_column(path: Path, name: str) -> Array:
    """One column (N,) of numbers or text. Raises `ValueError`."""
    columns = dict(_columns(path))
    if name not in columns:
        raise ValueError(f"has no column {name}, but {', '.join(columns)}")
    if columns[name].null_count:
        raise ValueError(f"column {name} has {columns[name].null_count} empty cells; fill or remove them")
    values = np.asarray(columns[name].to_numpy())
    return values if _holds_numbers(values) else stripped(values.astype(np.str_), name)
