"""The interface of a dataset: its spec, its samples once loaded, and the stream of its batches."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from wgan_cli.spec import Choice

WHOLE = slice(None)

Figures = dict[str, Tensor]
"""Names of figures, and 0-d tensors."""


class Batches(ABC):
    """An endless stream of whole batches (N, *shape) on the device, or of one rank's share of each."""

    @abstractmethod
    def draw(self, count: int) -> None:
        """Decides, on the host, which samples the next `count` batches hold."""

    @abstractmethod
    def take(self, number: int) -> Tensor:
        """Batch `number` of those that were drawn; take each once, in order. The work is the device's alone and the
        same each time, so that a CUDA graph can hold it."""

    def next(self) -> Tensor:
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
        """The `share` of batches whose order or values come from `generator` alone, on its device."""

    @abstractmethod
    def real(self, count: int, generator: torch.Generator, *, heldout: bool) -> Tensor:
        """At most `count` different real samples (N, *shape) on the device, chosen by a `generator` on the CPU.

        With `heldout`, samples that training never sees.
        """

    def heldout(self) -> Tensor | None:
        """Some real samples (N, *shape) that training never sees; None if there are none, or every batch is new."""
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
        """Distances of `samples` (N, *shape) to the distribution itself, where they are known in closed form."""
        return {}


class DataSpec(Choice, ABC):
    """The interface of every kind of data."""

    splits: ClassVar[tuple[str, ...]] = ()
    """The values of a field `split`, where the kind has one: `wgan distance` accepts each as KIND:SPLIT."""
    location_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys that say where files are. They may change when a run is resumed: the samples are the same."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample: (features,), or (channels, height, width) for images in [-1, 1]."""

    @abstractmethod
    def load(self, device: torch.device) -> Dataset:
        """Reads the samples into the device's memory. Raises `WganError` if they can't be had."""

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
        return len(self.shape) == 3

    @property
    def targets(self) -> dict[str, float]:
        """The values of figures that a perfect generator would have, where they are known."""
        return {}

    def density(self, x: Tensor) -> Tensor | None:
        """The target's probability density at each value of `x`, if it is known in closed form."""
        return None
