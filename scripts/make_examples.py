"""Writes the made-up data of the shipped configs table_gp, given_gp, series_gp and field_gp into a folder.

    python scripts/make_examples.py          # data/table.csv, data/given.csv, data/series.npy, data/field.npy

The same seed gives the same files. Files that are there already stay as they are.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ROWS = 20_000
GIVEN_ROWS = 100_000
FIELDS = 4_000


def table(rows: int, chance: np.random.Generator) -> dict[str, Array]:
    """Ten correlated columns: a mixture of four normals, of which two columns are whole-numbered and one is skewed."""
    fixed = np.random.default_rng(7)  # the distribution is the same for every seed
    means, factors = fixed.normal(0, 1.5, (4, 10)), fixed.normal(0, 1, (4, 10, 10)) / np.sqrt(10)
    chosen = chance.choice(4, rows, p=[0.4, 0.3, 0.2, 0.1])
    values = means[chosen] + np.einsum("nij,nj->ni", factors[chosen], chance.normal(size=(rows, 10)))
    columns = {f"x{i}": values[:, i] for i in range(7)}
    columns["count"], columns["age"] = np.round(3 * values[:, 7]), np.round(50 + 6 * values[:, 8])
    columns["income"] = np.exp(values[:, 9] / 2)
    return columns


def given(rows: int, chance: np.random.Generator) -> dict[str, Array]:
    """A column `c`, uniform in [0, 1], and a normal `x` with mean 3 c and spread 1 + c."""
    c = chance.random(rows)
    return {"c": c, "x": 3 * c + (1 + c) * chance.normal(size=rows)}


def series(count: int, chance: np.random.Generator) -> NDArray[np.float32]:
    """Damped oscillations (count, 1, 128) with random phase, frequency and damping rate."""
    phase, turns, rate = (chance.uniform(*ends, (count, 1, 1)) for ends in ((0, 2 * np.pi), (3, 6), (0.5, 4)))
    t = np.arange(128) / 128
    return (np.exp(-rate * t) * np.cos(2 * np.pi * turns * t + phase)).astype(np.float32)


def fields(count: int, chance: np.random.Generator) -> NDArray[np.float32]:
    """Volumes (count, 1, 16, 16, 16) with one round blob each, of random place, width and height."""
    grid = np.stack(np.meshgrid(*[np.arange(16)] * 3, indexing="ij"))[None]
    centre = chance.uniform(4, 11, (count, 3, 1, 1, 1))
    width, height = (chance.uniform(*ends, (count, 1, 1, 1)) for ends in ((1.5, 3), (0.5, 1)))
    squares = np.empty((count, 16, 16, 16), np.float32)
    for part in np.array_split(np.arange(count), max(count // 500, 1)):  # all at once would take 3 GB
        squares[part] = ((grid - centre[part]) ** 2).sum(1)
    return (height * np.exp(-squares / (2 * width**2)))[:, None].astype(np.float32)


def write_csv(path: Path, columns: dict[str, Array]) -> None:
    formats = ["%d" if (values == values.round()).all() else "%.6g" for values in columns.values()]
    rows = np.stack(list(columns.values()), 1)
    np.savetxt(path, rows, fmt=formats, delimiter=",", header=",".join(columns), comments="")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("data"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, help="in each file [default: thousands]")
    arguments = parser.parse_args()
    samples = arguments.samples
    writers: dict[str, Callable[[Path, np.random.Generator], None]] = {
        "table.csv": lambda path, chance: write_csv(path, table(samples or ROWS, chance)),
        "given.csv": lambda path, chance: write_csv(path, given(samples or GIVEN_ROWS, chance)),
        "series.npy": lambda path, chance: np.save(path, series(samples or ROWS, chance)),
        "field.npy": lambda path, chance: np.save(path, fields(samples or FIELDS, chance)),
    }
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, write in writers.items():
        path = arguments.folder / name
        if not path.exists():
            write(path, np.random.default_rng(arguments.seed))
        print(path)


if __name__ == "__main__":
    main()
