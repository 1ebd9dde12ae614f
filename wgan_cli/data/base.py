"""The interface of a dataset: its spec, its samples once loaded, and the stream of its batches."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from wgan_cli.data.decoders import AsFloats, AsPixels
from wgan_cli.data.pixels import Array, to_pixels
from wgan_cli.spec import Choice

WHOLE = slice(None)

View = Literal["images", "pooled", "table", "series", "fields", "volumes", "plane"]
"""Of samples as pictures: a grid of images, the density of all values, columns against each other, lines, a row of
pictures a channel, slices, or points in the plane."""
_VIEWS: dict[int, View] = {1: "table", 2: "series", 3: "fields", 4: "volumes"}

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

    def chosen(self, number: int) -> Tensor:
        """The indices (n,) of the samples in batch `number`, on the device; for finite data."""
        raise TypeError("samples that are drawn without end have no indices")

    def condition(self, number: int) -> Tensor | None:
        """The conditions (n, width) of the samples in batch `number`, if they have some."""
        return None

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

    def state_dict(self) -> Mapping[str, Any]:
        """What a checkpoint needs to return samples in the user's units, in plain containers."""
        return {}

    @abstractmethod
    def real(self, count: int, generator: torch.Generator, *, heldout: bool) -> Tensor:
        """At most `count` different real samples (N, *shape) on the device; a `generator` on the CPU selects them.

        With `heldout`, samples that training never sees.
        """

    def training_parts(self) -> Iterator[Tensor]:
        """All training samples, of the data's own shape, some (N, *shape) at a time; none of a source without end."""
        return iter(())

    def whole(self, count: int, generator: torch.Generator, *, heldout: bool) -> Tensor:
        """As `real`, of the data's own shape, with what is given beside what is generated."""
        return self.real(count, generator, heldout=heldout)

    def heldout(self) -> Tensor | None:
        """Some real samples (N, *shape) that training never sees; None if there are none, or if every batch is new."""
        return None

    def heldout_pairs(self, count: int) -> tuple[Tensor, Tensor | None] | None:
        """At most `count` of the held-out samples (N, *shape), with their conditions (N, width) if they have some."""
        heldout = self.heldout()
        return None if heldout is None else (heldout[:count], None)

    def labelled(self, *, heldout: bool) -> tuple[Tensor, Tensor] | None:
        """All samples (N, *shape) and their classes (N,), if they have any."""
        return None

    @property
    def size(self) -> int | None:
        """The number of training samples; None for a source without end."""
        return None

    def figures(self, generated: Callable[[], Tensor]) -> Figures:
        """Figures of generated samples that are cheap enough for every logged iteration.

        `generated` returns the samples (N, *shape); call it only if they are needed.
        """
        return {}

    def truth(self, samples: Tensor) -> Figures:
        """Distances between generated and real samples, computed without any critic, for every grid.

        `samples` are of the data's own shape, with what is given beside what is generated: then they are far from real
        ones too if they don't fit what is given.
        """
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
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample: (values,), (channels, steps), (channels, height, width) or with a depth before."""

    def resolved(self) -> Self:
        """This spec with what only the files know filled in, such as the shape of a sample. Raises `BadInputError`."""
        return self

    @property
    def places(self) -> tuple[str, ...]:
        """The user's own files and folders that hold the samples."""
        return ()

    @property
    def where(self) -> str:
        """The places in words; the kind of data that has none of its own."""
        return " ".join(self.places) or self.kind

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
    def sample_count(self) -> int | None:
        """The number of samples, if it is known before loading; None for an endless source."""
        return None

    @property
    def is_image(self) -> bool:
        """Whether a sample is a picture of 1, 3 or 4 channels in [-1, 1]."""
        return False

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their numbers; empty if there are none."""
        return ()

    @property
    def class_column(self) -> str | None:
        """The name of a table's column that holds the classes, if it has one."""
        return None

    @property
    def view(self) -> View:
        """How pictures show samples."""
        return "images" if self.is_image else _VIEWS[len(self.sample_shape)]

    @property
    def is_bounded(self) -> bool:
        """Whether every value lies in [-1, 1]: then generators end in tanh."""
        return self.is_image

    @property
    def targets(self) -> dict[str, float]:
        """The values of a perfect generator for some figures, by the name of the figure."""
        return {}

    def decoded(self, samples: Tensor, state: Mapping[str, Any]) -> Array:
        """Samples (N, *shape) in the units, type and layout of the input: images as uint8 (N, H, W, C), other data
        (N, ...). `state` is what `Dataset.state_dict` gave."""
        return to_pixels(samples) if self.is_image else samples.float().cpu().numpy()

    def decoded_columns(self, samples: Tensor, state: Mapping[str, Any]) -> list[Array]:
        """Vectors (N, D) as D columns (N,) in the units of the input, each in its own type."""
        return list(self.decoded(samples, state).T)

    def decoder(self, state: Mapping[str, Any]) -> nn.Module:
        """`decoded` as a module of torch's operations, from tensors to tensors, for generators that are exported."""
        return AsPixels() if self.is_image else AsFloats()

    @property
    def value_names(self) -> tuple[str, ...] | None:
        """The names of a vector's values, where they have some."""
        return None

    @property
    def channel_data(self) -> "DataSpec | None":
        """The kind of image with classes that each channel of a sample is one of, if they are independent."""
        return None

    @property
    def mixture(self) -> tuple[Tensor, float] | None:
        """The centres (modes, *shape) of a mixture of normals, and their one spread, if the data is such."""
        return None

    def density(self, x: Tensor) -> Tensor | None:
        """The target's probability density at each value of `x`, if it is known in closed form."""
        return None


def is_same(kept: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether the state of a dataset is that which a checkpoint has kept; older checkpoints lack some names."""
    return bool(kept) == bool(found) and _equal(kept, {name: found.get(name) for name in kept})


def _equal(one: Any, other: Any) -> bool:
    """Whether two trees of plain containers and tensors hold the same."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return bool(one == other)
