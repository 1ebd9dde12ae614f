"""What the readers of tables share: columns of numbers, and how they tell of them."""

import logging
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

log = logging.getLogger("wgan")
Array = NDArray[Any]
Wanted = Callable[[str], bool]
"""Whether the column of a name is read."""
EXACT = 1 << 53
"""Above it, every float64 is a whole number."""


@dataclass(frozen=True)
class Table:
    """Columns of numbers as samples (N, D), in one type that holds all."""

    values: Array
    names: tuple[str, ...] | None
    types: tuple[str, ...] | None = None
    """The names of the columns' own types, where the file has one for each."""
    left_out: tuple[str, ...] = ()
    """The names of the columns that were not wanted."""


_told: set[tuple[Path, str]] = set()


def tell(path: Path, what: str) -> None:
    """Logs how a file was read, once a process: a run opens its files twice."""
    if (path.absolute(), what) not in _told:
        _told.add((path.absolute(), what))
        log.info("%s: %s", path, what)


def by_drop(names: Sequence[str], *, more: bool = False) -> str:
    """How columns are left out, in a config and on the command line; `more` where others may be left out already."""
    listed = yaml.safe_dump(list(names), default_flow_style=True, allow_unicode=True, width=10**6).strip()
    beside = ", beside those that it names," if more else ""
    return f"drop: {listed}{beside} in a config, or --drop {shlex.quote(','.join(names))}"


def stripped(text: Array, name: str) -> Array:
    """The cells (N,) of the text column `name` without blanks around them. Raises `ValueError` for empty ones."""
    text = np.char.strip(text)
    if not text.astype(bool).all():
        raise ValueError(f"column {name} has empty cells; fill or remove them")
    return text
