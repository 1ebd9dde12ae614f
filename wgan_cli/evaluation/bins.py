"""Distances within each class, or within bins of each given column."""

import logging
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from wgan_cli.conditions import GivenColumns
from wgan_cli.evaluation.set_distances import exact_w1
from wgan_cli.measures.statistic import Figures, beside_floor

log = logging.getLogger("wgan")
BINS = 10


def bin_distances(columns: GivenColumns, fake: Tensor, real: Tensor, other: Tensor, condition: Tensor) -> Figures:
    """Exact W1 between generated and real samples within bins of each given column, with the floor and the counts: a
    bin for each value, where there are few, or for each tenth of the samples.

    Sample i of `fake` and of `real` has condition i; those of `other` have the conditions after them.
    """
    figures: Figures = {}
    for column, name in enumerate(columns.names):
        mine_given, their_given = condition[: 2 * len(real), column].cpu().double().split(len(real))
        marks, edges = _marks_and_edges(mine_given)
        bins, other_bins = (torch.bucketize(given, edges).to(real.device) for given in (mine_given, their_given))
        left_out = list[str]()
        for number in range(len(edges) + 1):
            found = _within(f"condition/{name}/{number}", fake, real, other, bins == number, other_bins == number)
            left_out += [] if found else [str(number)]
            figures |= found
        _tell_of_bins(columns, column, marks, left_out)
    return figures


def class_distances(names: Sequence[str], fake: Tensor, real: Tensor, other: Tensor, condition: Tensor) -> Figures:
    """Exact W1 between generated and real samples of each class, with the floor and the counts.

    Sample i of `fake` and of `real` is of the class that row i of `condition` is, one-hot; those of `other` are of the
    classes of the rows after them.
    """
    figures, left_out = Figures(), list[str]()
    mine, theirs = condition[: 2 * len(real)].argmax(1).to(real.device).split(len(real))
    for number, name in enumerate(names):
        found = _within(f"condition/{name}", fake, real, other, mine == number, theirs == number)
        left_out += [] if found else [name]
        figures |= found
    if left_out:
        log.info("condition/: %s left out, with too few real samples", ", ".join(left_out))
    return figures


def _within(key: str, fake: Tensor, real: Tensor, other: Tensor, mine: Tensor, theirs: Tensor) -> Figures:
    """Of the samples `mine` of `fake` and `real`, and `theirs` of `other`; empty for less than two of either."""
    if mine.sum() < 2 or theirs.sum() < 2:
        return {}
    sets = fake[mine].flatten(1), real[mine].flatten(1), other[theirs].flatten(1)
    return {f"{key}/samples": float(mine.sum()), **beside_floor(partial(exact_w1, f"{key}/w1"), *sets)}


def _marks_and_edges(given: Tensor) -> tuple[Tensor, Tensor]:
    """What bins of the values (N,) are told by, their values or ends, and the edges between neighbours."""
    values = given.unique()
    if len(values) <= BINS:
        return values, (values[1:] + values[:-1]) / 2
    ends = torch.quantile(given, torch.linspace(0, 1, BINS + 1, dtype=torch.float64))
    return ends, ends[1:-1]


def _tell_of_bins(columns: GivenColumns, column: int, marks: Tensor, left_out: list[str]) -> None:
    """Logs which values the bins of a column have, in the user's units, and which have too few samples."""
    told = marks * columns.scale[column] + columns.shift[column]
    rounding = 1e-6 * columns.scale[column]  # of float32, which would show a 0 as 1.4e-08
    shown = ", ".join(f"{value:.4g}" for value in torch.where(told.abs() < rounding, 0, told).tolist())
    missing = f"; {', '.join(left_out)} left out, with too few real samples" if left_out else ""
    last, are = (BINS - 1, "lie between") if len(marks) > BINS else (len(marks) - 1, "are of the values")
    log.info("condition/%s/0 to %d %s %s%s", columns.names[column], last, are, shown, missing)
