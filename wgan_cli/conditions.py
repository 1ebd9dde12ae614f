"""Conditions: what a sample is asked to be, a class or given values.

A condition is encoded as a vector (N, width). Generators take it beside the latent. Critics take it by projection for
classes (Miyato and Koyama, 2018), and by concatenation for values.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import one_hot

from wgan_cli.data import Batches, Dataset, DataSpec
from wgan_cli.data.base import WHOLE
from wgan_cli.data.finite import FiniteDataset, ReferenceDataset
from wgan_cli.errors import BadInputError
from wgan_cli.networks import Latent
from wgan_cli.networks.base import CriticSpec, Shape
from wgan_cli.networks.conditional import ConcatenationCritic, ConditionalCritic, ProjectionCritic
from wgan_cli.spec import Choice
from wgan_cli.streams import stream_seed

log = logging.getLogger("wgan")


class Conditions(ABC):
    """The conditions of a trained run: which there are, how often, and how they are encoded."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Plain containers and tensors, for a checkpoint."""

    @abstractmethod
    def encoding(self) -> dict[str, Any]:
        """How a condition is encoded, in plain containers, for those who have an exported generator alone: its `kind`,
        its `width`, the `type` of its numbers, a `rule` in words, and what the rule needs."""

    @abstractmethod
    def for_seeds(self, seeds: Iterable[int]) -> Tensor:
        """A condition (N, width) for each seed, as often as in the training data; a seed always has the same one."""


def generator_inputs(latent: Latent, conditions: Conditions | None, seeds: Sequence[int]) -> Tensor:
    """The generator's input (N, latent.dim + width) for each seed, on the CPU: its latent, and its condition if any."""
    latents = latent.from_seeds(seeds)
    return latents if conditions is None else torch.cat([latents, conditions.for_seeds(seeds)], 1)


def _uniform(seeds: Iterable[int]) -> Tensor:
    """One number in [0, 1) a seed, unrelated to the seed's latent."""
    generator = torch.Generator()
    draws = [torch.rand(1, generator=generator.manual_seed(stream_seed(seed, "condition"))) for seed in seeds]
    return torch.cat(draws) if draws else torch.empty(0)


@dataclass(frozen=True)
class Classes(Conditions):
    """Classes with their names and shares of the training data."""

    names: tuple[str, ...]
    shares: Tensor
    """(classes,)"""

    def state_dict(self) -> dict[str, Any]:
        return {"names": list(self.names), "shares": self.shares}

    def encoding(self) -> dict[str, Any]:
        rule = "one-hot: 1 at the number of the class in `names`, counted from 0, and 0 elsewhere"
        names = list(self.names)
        return {"kind": "labels", "width": len(names), "type": "float32", "rule": rule, "names": names}

    def for_seeds(self, seeds: Iterable[int]) -> Tensor:
        ends = self.shares.double().cumsum(0)
        return self.encode(torch.searchsorted(ends / ends[-1], _uniform(seeds).double(), right=True))

    def encode(self, classes: Tensor) -> Tensor:
        """One-hot vectors (N, classes) of class numbers (N,)."""
        return one_hot(classes, len(self.names)).to(torch.get_default_dtype())

    def number(self, name: str) -> int:
        """The class of this name or number. Raises `BadInputError` for an unknown one."""
        if name in self.names:
            return self.names.index(name)
        if name.isdecimal() and int(name) < len(self.names):
            return int(name)
        known = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
        raise BadInputError(f"--class {name}: unknown; the run's classes are {known}")


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
        return self.rows[(_uniform(seeds) * len(self.rows)).long()]

    def encode(self, values: Tensor) -> Tensor:
        """Values (N, width) of the user's units in those of training; in float64, so that decoding returns them."""
        return (values.double() - self.shift) / torch.where(self.scale == 0, 1, self.scale)


class ConditionalDataset(ReferenceDataset):
    """A finite dataset whose samples come with a condition each; everything else is as in the dataset inside."""

    def __init__(self, inner: FiniteDataset) -> None:
        self.inner = inner

    @property
    @abstractmethod
    def conditions(self) -> Conditions:
        """Which conditions there are."""

    @abstractmethod
    def samples_of(self, inner: Tensor) -> Tensor:
        """What is generated of the inner dataset's samples."""

    @abstractmethod
    def conditions_of(self, inner: Tensor, chosen: Tensor, *, heldout: bool) -> Tensor:
        """The conditions (N, width) of the inner dataset's samples with the indices `chosen` (N,)."""

    def batches(self, batch_size: int, generator: torch.Generator, share: slice = WHOLE) -> Batches:
        return _Pairs(self, self.inner.batches(batch_size, generator, share))

    def real(self, count: int, generator: torch.Generator, *, heldout: bool) -> Tensor:
        return self.pairs(count, generator, heldout=heldout)[0]

    def whole(self, count: int, generator: torch.Generator, *, heldout: bool) -> Tensor:
        return self.inner.real(count, generator, heldout=heldout)

    def pairs(self, count: int, generator: torch.Generator, *, heldout: bool) -> tuple[Tensor, Tensor]:
        """As `real`, with the conditions (N, width) of the samples."""
        chosen = self.inner.choose(count, generator, heldout=heldout)
        samples = self.inner.at(chosen, heldout=heldout)
        return self.samples_of(samples), self.conditions_of(samples, chosen.to(samples.device), heldout=heldout)

    @cached_property
    def reference(self) -> tuple[Tensor, Tensor] | None:
        if self.inner.reference is None:
            return None
        first, second = self.inner.reference
        return self.samples_of(first), self.samples_of(second)

    def heldout_pairs(self, count: int) -> tuple[Tensor, Tensor | None] | None:
        if self.inner.others is None:
            return None
        return self.pairs(count, torch.Generator().manual_seed(0), heldout=True)

    @property
    def size(self) -> int:
        return self.inner.size

    def training_parts(self) -> Iterator[Tensor]:
        return self.inner.training_parts()

    def labelled(self, *, heldout: bool) -> tuple[Tensor, Tensor] | None:
        return self.inner.labelled(heldout=heldout)

    def state_dict(self) -> Mapping[str, Any]:
        return {**self.inner.state_dict(), "condition": self.conditions.state_dict()}


class _Pairs(Batches):
    """Batches of samples, and of the conditions beside them."""

    def __init__(self, dataset: ConditionalDataset, inner: Batches) -> None:
        self._dataset, self._inner = dataset, inner

    def draw(self, count: int) -> None:
        self._inner.draw(count)

    def take(self, number: int) -> Tensor:
        return self._dataset.samples_of(self._inner.take(number))

    def condition(self, number: int) -> Tensor:
        return self._dataset.conditions_of(self._inner.take(number), self._inner.chosen(number), heldout=False)

    def state_dict(self) -> dict[str, Any]:
        return self._inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._inner.load_state_dict(state)


class ConditionSpec(Choice, ABC):
    """What samples are asked to be."""

    @abstractmethod
    def check(self, data: DataSpec) -> None:
        """Raises ValueError, with a remedy, if this data has no such conditions."""

    @abstractmethod
    def width(self, data: DataSpec) -> int:
        """The length of an encoded condition."""

    def sample_shape(self, data: DataSpec) -> Shape:
        """The shape of what is generated: a sample without what is given."""
        return data.sample_shape

    def joined(self, samples: Tensor, condition: Tensor, data: DataSpec) -> Tensor:
        """Samples of the data's own shape, from what was generated and what was given."""
        return samples

    @abstractmethod
    def build_critic(self, critic: CriticSpec, shape: Shape, width: int) -> ConditionalCritic:
        """A new critic of samples with conditions."""

    @abstractmethod
    def attach(self, dataset: Dataset, data: DataSpec) -> ConditionalDataset:
        """The dataset with a condition beside each sample."""

    @abstractmethod
    def load(self, state: Mapping[str, Any]) -> Conditions:
        """The inverse of `Conditions.state_dict`."""


class Labels(ConditionSpec):
    """The class of a sample, for every kind of data that has classes."""

    kind: Literal["labels"] = "labels"

    def check(self, data: DataSpec) -> None:
        if not data.class_names:
            raise ValueError(f"{data.kind} has no classes here; images have one a folder")

    def width(self, data: DataSpec) -> int:
        return len(data.class_names)

    def build_critic(self, critic: CriticSpec, shape: Shape, width: int) -> ConditionalCritic:
        projects = not critic.slope_one  # a product with the class would have any slope
        return (ProjectionCritic if projects else ConcatenationCritic)(critic, shape, width)

    def attach(self, dataset: Dataset, data: DataSpec) -> ConditionalDataset:
        assert isinstance(dataset, FiniteDataset)
        return _Labelled(dataset, data.class_names)

    def load(self, state: Mapping[str, Any]) -> Conditions:
        return Classes(tuple(state["names"]), state["shares"])


class _Labelled(ConditionalDataset):
    def __init__(self, inner: FiniteDataset, names: tuple[str, ...]) -> None:
        super().__init__(inner)
        assert inner.labels is not None
        counts = inner.labels.bincount(minlength=len(names)).cpu()
        rare = [name for name, count in zip(names, counts.tolist(), strict=True) if count < 2]
        if rare:
            shown = ", ".join(rare[:10]) + (", ..." if len(rare) > 10 else "")
            log.warning("condition: classes with at most one sample to train on: %s", shown)
        self._classes = Classes(names, counts / counts.sum())

    @property
    def conditions(self) -> Classes:
        return self._classes

    def samples_of(self, inner: Tensor) -> Tensor:
        return inner

    def conditions_of(self, inner: Tensor, chosen: Tensor, *, heldout: bool) -> Tensor:
        labels = self.inner.other_labels if heldout else self.inner.labels
        assert labels is not None
        return self._classes.encode(labels[chosen])


class Columns(ConditionSpec):
    """Some columns of a table are given, the others generated."""

    kind: Literal["columns"] = "columns"
    names: tuple[str, ...] = Field(min_length=1)

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


Condition = Annotated[Labels | Columns, Field(discriminator="kind")]
