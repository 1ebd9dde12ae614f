"""The interface of a dataset: its spec, its samples once loaded, and the stream of its batches."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from wgan_cli.spec import Choice

WHOLE = slice(None)

Figures = dict[str, Tensor]
"""Figures by name, each a 0-d tensor."""


class Batches(ABC):
    """An endless stream of whole batches (N, *shape) on the device, or of one rank's share of each batch."""

    @abstractmethod
    def draw(self, count: int) -> None:
        """Chooses the samples of the next `count` batches. The host runs it before each iteration."""

    @abstractmethod
    def take(self, number: int) -> Tensor:
        """Batch `number` of the drawn ones. Take each batch once, in order. Only the device works, and the kernels are
        the same each time, so that a CUDA graph can capture them."""

    def next(self) -> Tensor:
        """Draws one batch and returns it."""
        self.draw(1)
        return self.take(0)

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """The position in the stream, in plain containers and tensors."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""


class Dataset(ABC):
    """Real samples, ready on a device."""

    @abstractmethod
    def batches(self, batch_size: int, generator: torch.Generator, share: slice = WHOLE) -> Batches:
        """A stream of batches, each cut to `share`. Their order or values depend on `generator` alone."""

    @abstractmethod
    def real(self, count: int, generator: torch.Generator, *, heldout: bool) -> Tensor:
        """At most `count` different real samples (N, *shape) on the device; a `generator` on the CPU selects them.

        With `heldout`, samples that training never sees.
        """

    def heldout(self) -> Tensor | None:
        """Some real samples (N, *shape) that training never sees; None if there are none, or if every batch is new."""
        return None

    def labelled(self, *, heldout: bool) -> tuple[Tensor, Tensor] | None:
        """All samples (N, *shape) and their classes (N,), if they have any."""
        return None

    def figures(self, generated: Callable[[], Tensor]) -> Figures:
        """Figures of generated samples that are cheap enough for every logged iteration.

        `generated` returns the samples (N, *shape); call it only if they are needed.
        """
        return {}

    def truth(self, samples: Tensor) -> Figures:
        """Distances between generated and real samples, computed without any critic, for every grid."""
        return {}

    def exact_distances(self, samples: Tensor) -> Figures:
        """Distances of `samples` (N, *shape) to the distribution itself, if they are known in closed form."""
        return {}


class DataSpec(Choice, ABC):
    """The interface of every kind of data."""

    splits: ClassVar[tuple[str, ...]] = ()
    """The values of the field `split`, if the kind has one: `wgan distance` accepts each as KIND:SPLIT."""
    location_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys that name the place of files. They may change when a run is resumed, because the samples stay the same."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample: (features,), or (channels, height, width) for images in [-1, 1]."""

    @abstractmethod
    def load(self, device: torch.device) -> Dataset:
        """Reads the samples into the device's memory. Raises `WganError` if they can't be read or downloaded."""

    def fetch(self) -> None:
        """Downloads missing files. Raises `WganError` if that fails."""
        return

    def samples(self) -> Tensor:
        """All samples (N, *shape) of this split, on the CPU, for the kinds that have `splits`."""
        raise TypeError(f"{self.kind} has no splits")

    @property
    def size(self) -> int | None:
        """The number of samples, if it is known before loading; None for an endless source."""
        return None

    @property
    def is_image(self) -> bool:
        """Whether a sample is an image: (channels, height, width) in [-1, 1]."""
        return len(self.shape) == 3

    @property
    def targets(self) -> dict[str, float]:
        """The values of a perfect generator for some figures, by the name of the figure."""
        return {}

    def density(self, x: Tensor) -> Tensor | None:
        """The target's probability density at each value of `x`, if it is known in closed form."""
        return None
