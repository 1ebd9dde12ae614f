"""What commands print on stdout: one JSON object, or text for people."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from wgan_cli.figure_names import FLOOR, HIGH, LOW

_END = re.compile(f"({LOW}|{HIGH}|{FLOOR})$")


def print_json(tree: Any) -> None:
    """Prints one JSON object, in one line."""
    typer.echo(json.dumps(tree, allow_nan=False))


def print_figures(figures: dict[str, Any]) -> None:
    """Prints a line for each figure: its name, its value, the ends of its confidence interval if it has one, and its
    value for a perfect generator if that is known."""
    names = [name for name in figures if _END.sub("", name) not in figures or not _END.search(name)]
    ends = {name: [figures[name + end] for end in (LOW, HIGH) if name + end in figures] for name in names}
    columns = {
        "figure": names,
        "value": [_short(figures[name]) for name in names],
        "interval of 95 %": [" to ".join(map(_short, ends[name])) for name in names],
        "perfect": [_short(figures.get(name + FLOOR, "")) for name in names],
    }
    filled = {head: cells for head, cells in columns.items() if any(cells)}
    rows = list(zip(*filled.values(), strict=True))
    if len(filled) > 2:
        print_table(list(filled), rows)
    else:  # no head is needed to tell names from values
        print_table(rows[0], rows[1:])


def print_facts(facts: dict[str, Any]) -> None:
    """Prints what a survey of data found: a line for each fact, and one for each row of a fact that is a table."""
    width = max(map(len, facts))
    for name, value in facts.items():
        if isinstance(value, dict) and value and all(isinstance(row, dict) for row in value.values()):
            typer.echo(f"{name}:")
            for row, cells in value.items():
                typer.echo(f"  {row}: " + ", ".join(_words(cells)))
        elif isinstance(value, dict):
            typer.echo(f"{name:{width}}  " + ", ".join(f"{key}: {count:,}" for key, count in value.items()))
        elif isinstance(value, list):
            typer.echo(f"{name:{width}}  " + (", ".join(map(_short, value)) or "-"))
        else:
            typer.echo(f"{name:{width}}  {value:,}" if isinstance(value, int) else f"{name:{width}}  {value}")


def _words(cells: dict[str, Any]) -> Iterator[str]:
    """The cells of a row: what is true or counted is named where there is something to tell."""
    for name, value in cells.items():
        if isinstance(value, float):
            yield f"{name} {value:.6g}"
        elif isinstance(value, bool):
            yield from [f"{name} numbers"] * value
        elif value:
            yield f"{value:,} {name}"


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows of text below their head, in columns as wide as their longest cell."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        typer.echo("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
