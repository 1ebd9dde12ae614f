"""What conditions of every sort have: their encoding, a dataset that pairs samples with them, and their spec."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from wgan_cli.data import Batches, Dataset, DataSpec
from wgan_cli.data.base import WHOLE
from wgan_cli.data.finite import FiniteDataset, ReferenceDataset
from wgan_cli.networks import Latent
from wgan_cli.networks.base import CriticSpec, Shape
from wgan_cli.networks.conditional import ConditionalCritic
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

    @abstractmethod
    def asked(self, what: Any) -> Tensor:
        """The condition (1, width) that `what` names in the user's words. Raises `BadInputError` if it is none."""


def generator_inputs(latent: Latent, conditions: Conditions | None, seeds: Sequence[int]) -> Tensor:
    """The generator's input (N, latent.dim + width) for each seed, on the CPU: its latent, and its condition if any."""
    latents = latent.from_seeds(seeds)
    return latents if conditions is None else torch.cat([latents, conditions.for_seeds(seeds)], 1)


def uniform(seeds: Iterable[int]) -> Tensor:
    """One number in [0, 1) a seed, unrelated to the seed's latent."""
    generator = torch.Generator()
    draws = [torch.rand(1, generator=generator.manual_seed(stream_seed(seed, "condition"))) for seed in seeds]
    return torch.cat(draws) if draws else torch.empty(0)


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

    @property
    def reference(self) -> tuple[Tensor, Tensor] | None:
        return self.inner.reference

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
