"""Conditions that are classes."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from wgan_cli.conditions.base import ConditionalDataset, Conditions, ConditionSpec, uniform
from wgan_cli.data import Dataset, DataSpec
from wgan_cli.data.finite import FiniteDataset
from wgan_cli.errors import BadInputError
from wgan_cli.networks.base import CriticSpec, Shape
from wgan_cli.networks.conditional import ConcatenationCritic, ConditionalCritic, ProjectionCritic

log = logging.getLogger("wgan")


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
        return self.encode(torch.searchsorted(ends / ends[-1], uniform(seeds).double(), right=True))

    def encode(self, classes: Tensor) -> Tensor:
        """One-hot vectors (N, classes) of class numbers (N,)."""
        return one_hot(classes, len(self.names)).to(torch.get_default_dtype())

    def asked(self, what: Any) -> Tensor:
        """Of a class, by its name or number."""
        return self.encode(torch.tensor([self.number(str(what))]))

    def number(self, name: str) -> int:
        """The class of this name or number. Raises `BadInputError` for an unknown one."""
        if name in self.names:
            return self.names.index(name)
        if name.isdecimal() and int(name) < len(self.names):
            return int(name)
        known = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
        raise BadInputError(f"class {name}: unknown; the run's classes are {known}")


class Labels(ConditionSpec):
    """The class of a sample, for every kind of data that has classes."""

    kind: Literal["labels"] = "labels"

    def check(self, data: DataSpec) -> None:
        if not data.class_names:
            raise ValueError(
                f"{data.kind} has no classes here; pictures have one a folder, and arrays those of data.labels"
            )

    def width(self, data: DataSpec) -> int:
        return len(data.class_names)

    def build_critic(self, critic: CriticSpec, shape: Shape, width: int) -> ConditionalCritic:
        projects = not critic.slope_one  # a product with the class would have any slope
        return (ProjectionCritic if projects else ConcatenationCritic)(critic, shape, width)

    def attach(self, dataset: Dataset, data: DataSpec) -> ConditionalDataset:
        assert isinstance(dataset, FiniteDataset)
        if dataset.others is not None and dataset.other_labels is None:
            raise BadInputError(
                "data.heldout: its samples have no classes, which condition: {kind: labels} needs; sort pictures into "
                f"folders of the same names ({', '.join(data.class_names[:20])}), give a file the labels that "
                "data.labels names, or hold out a share, such as 0.1"
            )
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
