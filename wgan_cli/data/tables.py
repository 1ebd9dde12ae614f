"""Tables of the user's own: which module reads them, by the ending of the file."""

from pathlib import Path
from types import ModuleType

from wgan_cli.data import csv_tables, parquet_tables
from wgan_cli.data.table import Array, Table, Wanted
from wgan_cli.paths import ending

TABLES: dict[str, ModuleType] = {".csv": csv_tables, ".tsv": csv_tables, ".parquet": parquet_tables}


def read_table(path: Path, wanted: Wanted) -> Table:
    """The wanted columns of a table; all of one whose columns have no names. Raises `ValueError`."""
    table: Table = TABLES[ending(path)].read_table(path, wanted)
    return table


def read_column(path: Path, name: str) -> Array:
    """One column (N,) of whole numbers, other numbers, or text. Raises `ValueError`."""
    column: Array = TABLES[ending(path)].read_column(path, name)
    return column


def column_names(path: Path) -> tuple[str, ...]:
    """The names of all columns; none without a header. Raises `ValueError`."""
    names: tuple[str, ...] = TABLES[ending(path)].column_names(path)
    return names


def text_columns(path: Path) -> tuple[str, ...]:
    """The names of the columns that hold no numbers, or few. Raises `ValueError`."""
    names: tuple[str, ...] = TABLES[ending(path)].text_columns(path)
    return names
