"""Scaling between the user's units and those that networks train in, by column of vectors or channel of arrays."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wgan_cli.errors import BadInputError

ScaleName = Literal["standardise", "minmax", "none"]
Array = NDArray[Any]


@dataclass(frozen=True)
class Statistics:
    """What one pass over an array (N, C, ...) finds for each column or channel: arrays (C,) in float64."""

    count: int
    mean: Array
    std: Array
    least: Array
    greatest: Array
    whole: Array
    """Whether all values are whole numbers: bool (C,)."""


def statistics(chunks: Iterable[Array], where: str) -> Statistics:
    """The statistics of an array of finite values that comes in chunks (n, C, ...). Raises `BadInputError`, naming
    `where`, if a spread is not finite."""
    count, rows, mean, squares = 0, 0, np.zeros(1), np.zeros(1)
    least, greatest, whole = np.array(np.inf), np.array(-np.inf), np.array(True)
    for chunk in chunks:
        values = np.moveaxis(chunk.astype(np.float64).reshape(*chunk.shape[:2], -1), 1, 0).reshape(chunk.shape[1], -1)
        new = values.shape[1]
        delta = values.mean(1) - mean
        with np.errstate(over="ignore"):  # refused below
            # Chan, Golub and LeVeque (1979): the means and squares of two parts give those of the whole.
            squares = squares + ((values - values.mean(1, keepdims=True)) ** 2).sum(1)
            squares = squares + (delta * np.sqrt(count * new / (count + new))) ** 2
        mean = mean + delta * new / (count + new)
        count, rows = count + new, rows + len(chunk)
        least, greatest = np.minimum(least, values.min(1)), np.maximum(greatest, values.max(1))
        whole = whole & (values == np.floor(values)).all(1)
    for column in np.flatnonzero(~np.isfinite(squares)):
        raise BadInputError(f"{where}: the values of column {column + 1} (from 1) are too far apart; divide them first")
    return Statistics(rows, mean, np.sqrt(squares / max(count, 1)), least, greatest, whole)


def check_finite(chunk: Array, first_row: int, where: str, names: Sequence[str] | None = None) -> None:
    """Raises `BadInputError` at a value of a chunk (n, C, ...) that is not finite, with its row and its column, by name
    if columns have `names`."""
    finite = np.isfinite(chunk).reshape(*chunk.shape[:2], -1).all(2)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        place = f"row {first_row + row + 1}, column {names[column] if names else f'{column + 1} (from 1)'}"
        raise BadInputError(f"{where}: holds a value that is not finite, in {place}; remove or fill such values first")


def typed(values: Array, dtype: np.dtype[Any]) -> Array:
    """`values` in another type: true above one half, and whole numbers within the limits of theirs."""
    if values.dtype == dtype:
        return values
    if dtype.kind not in "iu":
        return values > 0.5 if dtype.kind == "b" else values.astype(dtype)
    limits = np.iinfo(dtype)
    whole = values.clip(limits.min, np.nextafter(float(limits.max), 0)).astype(dtype)
    return np.where(values >= limits.max, np.array(limits.max, dtype), whole)  # as a float it may round up beyond


@dataclass(frozen=True)
class Scaling:
    """scaled = (value − shift) / scale for each column or channel; a scale of 0 marks a constant one."""

    shift: Array
    scale: Array
    whole: Array
    dtype: str
    """The type of the input, which samples get back."""

    @staticmethod
    def fit(name: ScaleName, found: Statistics, dtype: np.dtype[Any]) -> "Scaling":
        """`standardise` to mean 0 and spread 1, `minmax` to [-1, 1], or `none`."""
        if name == "standardise":
            shift, scale = found.mean, found.std
        elif name == "minmax":
            shift, scale = (found.least + found.greatest) / 2, (found.greatest - found.least) / 2
        else:
            shift, scale = np.zeros_like(found.mean), np.ones_like(found.mean)
        constant = found.least == found.greatest
        if name != "none":  # exactly: rounding must not leave a spread
            shift, scale = np.where(constant, found.least, shift), np.where(constant, 0, scale)
        return Scaling(shift, scale, found.whole, dtype.name)

    def scaled(self, values: Array) -> Tensor:
        """Values (N, C, ...) of the user's units in those of training: torch's default type (float32 unless set
        otherwise), on the CPU."""
        shift, scale = self._like(values, self.shift), self._like(values, np.where(self.scale == 0, 1, self.scale))
        scaled = np.ascontiguousarray((values.astype(np.float64) - shift) / scale)
        return torch.from_numpy(scaled).to(torch.get_default_dtype())

    def unscaled(self, samples: Tensor) -> Array:
        """The inverse of `scaled`: in the input's type, with whole numbers where the input had only such."""
        values = samples.detach().cpu().double().numpy()
        values = values * self._like(values, self.scale) + self._like(values, self.shift)
        values = np.where(self._like(values, self.whole), np.rint(values), values)
        return typed(values, np.dtype(self.dtype))

    @staticmethod
    def _like(values: Array, numbers: Array) -> Array:
        """`numbers` (C,) in a shape that broadcasts against values (N, C, ...)."""
        return numbers.reshape(1, -1, *[1] * (values.ndim - 2))

    def state_dict(self) -> dict[str, Any]:
        """Plain containers, for a checkpoint."""
        return {
            "shift": self.shift.tolist(),
            "scale": self.scale.tolist(),
            "whole": self.whole.tolist(),
            "dtype": self.dtype,
        }

    @staticmethod
    def from_state(state: Mapping[str, Any]) -> "Scaling":
        """The inverse of `state_dict`."""
        shift, scale, whole = (np.array(state[name]) for name in ("shift", "scale", "whole"))
        return Scaling(shift.astype(float), scale.astype(float), whole.astype(bool), str(state["dtype"]))
