"""Conditions that are given columns of a table."""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from wgan_cli.conditions.base import ConditionalDataset, Conditions, ConditionSpec, uniform
from wgan_cli.data import Dataset, DataSpec
from wgan_cli.data.finite import FiniteDataset
from wgan_cli.errors import BadInputError
from wgan_cli.networks.base import CriticSpec, Shape
from wgan_cli.networks.conditional import ConcatenationCritic, ConditionalCritic

log = logging.getLogger("wgan")


@dataclass(frozen=True)
class GivenColumns(Conditions):
    """Values of some columns of a table, in training units; `rows` are a draw of the training data's."""

    names: tuple[str, ...]
    rows: Tensor
    """(n, width)"""
    shift: Tensor
    scale: Tensor
    ranges: list[list[float]]
    """The least and greatest value of each column in the data, in the user's units."""

    def state_dict(self) -> dict[str, Any]:
        numbers = {"rows": self.rows, "shift": self.shift, "scale": self.scale, "ranges": self.ranges}
        return {"names": list(self.names), **numbers}

    def encoding(self) -> dict[str, Any]:
        rule = "(value - shift) / scale for each column of `names`, in their order; where scale is 0, value - shift"
        numbers = {"shift": self.shift.tolist(), "scale": self.scale.tolist(), "ranges": self.ranges}
        names = list(self.names)
        return {"kind": "columns", "width": len(names), "type": "float64", "rule": rule, "names": names, **numbers}

    def for_seeds(self, seeds: Iterable[int]) -> Tensor:
        return self.rows[(uniform(seeds) * len(self.rows)).long()]

    def asked(self, what: Any) -> Tensor:
        """Of a mapping with a value for each given column, in the user's units."""
        if not isinstance(what, Mapping):
            raise BadInputError(f"given columns: must be a mapping such as {{{self.names[0]!r}: 1.5}}, but is {what!r}")
        for name, value in what.items():
            if name not in self.names:
                raise BadInputError(f"given {name}={value}: the run's given columns are {', '.join(self.names)}")
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise BadInputError(f"given {name}={value}: must be a finite number")
        missing = [name for name in self.names if name not in what]
        if missing:
            raise BadInputError(f"given columns: {', '.join(missing)} is missing; the run needs all of them")
        values = torch.tensor([[what[name] for name in self.names]], dtype=torch.float64)
        self.warn_of_range(values)
        return self.encode(values)

    def warn_of_range(self, values: Tensor) -> None:
        """Logs which of the values (N, width), in the user's units, are outside of the training data's range."""
        for i, (name, (low, high)) in enumerate(zip(self.names, self.ranges, strict=True)):
            rounding = 1e-6 * max(abs(low), abs(high))  # of float32, which the data may have been in
            outside = (values[:, i] < low - rounding) | (values[:, i] > high + rounding)
            if outside.any():
                value = values[outside, i][0].item()
                log.warning("%s=%g is outside of what the run was trained on, %g to %g", name, value, low, high)

    def encode(self, values: Tensor) -> Tensor:
        """Values (N, width) of the user's units in those of training; in float64, so that decoding returns them."""
        return (values.double() - self.shift) / torch.where(self.scale == 0, 1, self.scale)


class Columns(ConditionSpec):
    """Some columns of a table are given, the others generated."""

    kind: Literal["columns"] = "columns"
    names: tuple[str, ...] = Field(min_length=1)
    """The columns that are given; the others are generated."""

    def check(self, data: DataSpec) -> None:
        columns = data.value_names
        if columns is None:
            raise ValueError("columns need names: a .csv with a header or a .parquet file, or data.columns")
        for name in self.names:
            if name not in columns:
                raise ValueError(f"there is no column {name}; the columns are {', '.join(columns)}")
        if len(set(self.names)) < len(self.names):
            raise ValueError("names a column twice")
        if len(self.names) == len(columns):
            raise ValueError("all columns are given, so none is left to generate")

    def width(self, data: DataSpec) -> int:
        return len(self.names)

    def sample_shape(self, data: DataSpec) -> Shape:
        return (data.sample_shape[0] - len(self.names),)

    def build_critic(self, critic: CriticSpec, shape: Shape, width: int) -> ConditionalCritic:
        return ConcatenationCritic(critic, shape, width)

    def joined(self, samples: Tensor, condition: Tensor, data: DataSpec) -> Tensor:
        order = [i for indices in self.indices(data) for i in indices]
        places = torch.tensor([order.index(i) for i in range(len(order))], device=samples.device)
        return torch.cat([condition, samples.to(condition.dtype)], 1)[:, places]

    def indices(self, data: DataSpec) -> tuple[list[int], list[int]]:
        """The numbers of the given columns, in the order of `names`, and of the generated ones."""
        columns = data.value_names
        assert columns is not None
        given = [columns.index(name) for name in self.names]
        return given, [i for i in range(len(columns)) if i not in given]

    def attach(self, dataset: Dataset, data: DataSpec) -> ConditionalDataset:
        assert isinstance(dataset, FiniteDataset)
        return _Tabular(dataset, self.names, *self.indices(data))

    def load(self, state: Mapping[str, Any]) -> Conditions:
        return GivenColumns(tuple(state["names"]), state["rows"], state["shift"], state["scale"], state["ranges"])


class _Tabular(ConditionalDataset):
    ROWS = 4096
    """Rows of the training data whose given values are kept, to draw conditions from."""

    def __init__(self, inner: FiniteDataset, names: tuple[str, ...], given: list[int], generated: list[int]) -> None:
        super().__init__(inner)
        device = inner.samples.device
        self._given, self._generated = (torch.tensor(numbers, device=device) for numbers in (given, generated))
        rows = inner.real(self.ROWS, torch.Generator().manual_seed(0), heldout=False)[:, self._given].cpu()
        state = inner.state_dict()
        shift, scale = (torch.tensor(state["scaling"][key], dtype=torch.float64)[given] for key in ("shift", "scale"))
        self._columns = GivenColumns(names, rows, shift, scale, [state["ranges"][column] for column in given])

    @property
    def conditions(self) -> GivenColumns:
        return self._columns

    def samples_of(self, inner: Tensor) -> Tensor:
        return inner[:, self._generated]

    def conditions_of(self, inner: Tensor, chosen: Tensor, *, heldout: bool) -> Tensor:
        return inner[:, self._given]
