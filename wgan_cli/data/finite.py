"""A finite set of samples, on the device or streamed to it, and its held-out samples."""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from wgan_cli.data.base import WHOLE, Batches, Dataset, Figures
from wgan_cli.data.pixels import scale
from wgan_cli.data.streamed import StreamedPasses
from wgan_cli.errors import BadInputError
from wgan_cli.transport import exact_wasserstein

Gather = Callable[[Tensor], Tensor]
PART = 1 << 22
"""Values of training samples that are gathered at once, where all are looked at."""
JUDGED, MOST_VALUES = 1000, 1 << 25
"""Samples that judge and are judged, and their values (128 MiB), of which large samples have as many as fit."""


def judged_count(shape: tuple[int, ...]) -> int:
    """How many samples of this shape judge, and are judged: 1,000, or the fewer whose values are `MOST_VALUES`."""
    return min(JUDGED, max(2, MOST_VALUES // math.prod(shape)))


@dataclass(frozen=True)
class Store:
    """`count` samples that `gather` fetches by their indices (n,): (n, *shape), as networks train on them."""

    gather: Gather
    """For a resident store of indices on the device, by work of the device alone; else on the CPU, by a thread."""
    count: int
    device: torch.device
    is_resident: bool = True

    @staticmethod
    def of(samples: Tensor) -> "Store":
        """Samples (N, *shape) on their device. Images stay uint8: a quarter of the memory and traffic of float32."""
        return Store(lambda chosen: scale(samples[chosen]), len(samples), samples.device)

    def __len__(self) -> int:
        return self.count

    def at(self, chosen: Tensor) -> Tensor:
        """The samples of some indices (n,) on the CPU: (n, *shape) on the device."""
        return self.gather(chosen.to(self.device) if self.is_resident else chosen).to(self.device)

    def batches(self, batch_size: int, generator: torch.Generator, share: slice = WHOLE) -> Batches:
        """Passes in random order; `generator` is on the device."""
        if self.is_resident:
            return _Passes(self, batch_size, generator, share)
        return StreamedPasses(self.gather, self.count, batch_size, generator, share)


class ReferenceDataset(Dataset):
    """A dataset that judges samples by two sets of held-out ones."""

    @property
    @abstractmethod
    def reference(self) -> tuple[Tensor, Tensor] | None:
        """Two sets of as many held-out samples (n, *shape), always the same ones; None if nothing is held out."""

    @cached_property
    def _floor(self) -> Tensor:
        """W1 between the two sets: what a perfect generator would have."""
        assert self.reference is not None
        first, second = self.reference
        return exact_wasserstein(first.flatten(1), second.flatten(1))

    def heldout(self) -> Tensor | None:
        return None if self.reference is None else self.reference[0]

    def truth(self, samples: Tensor) -> Figures:
        """Exact W1 in the critic's own unit (Euclidean), and its floor: real against real."""
        if self.reference is None:
            return {}
        real = self.reference[0]
        distance = exact_wasserstein(samples[: len(real)].flatten(1), real.flatten(1))
        return {"truth/w1": distance, "truth/w1_floor": self._floor}


@dataclass(frozen=True)
class FiniteDataset(ReferenceDataset):
    """A finite set of samples, and others that training never sees."""

    samples: Store
    where: str
    """The key that chose them, for messages."""
    others: Store | None = None
    """Held-out samples."""
    labels: Tensor | None = None
    other_labels: Tensor | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    """What a checkpoint needs to return samples in the user's units, in plain containers."""

    @cached_property
    def reference(self) -> tuple[Tensor, Tensor] | None:
        """Two sets of at most 1,000 held-out samples each, or fewer large ones."""
        if self.others is None:
            return None
        count = min(len(self.others) // 2, judged_count(self.others.at(torch.arange(1)).shape[1:]))
        chosen = self.real(2 * count, torch.Generator().manual_seed(0), heldout=True)
        return chosen[:count], chosen[count:]

    def choose(self, count: int, generator: torch.Generator, *, heldout: bool) -> Tensor:
        """The indices (N,) of at most `count` different samples, on the CPU."""
        return torch.randperm(len(self._side(heldout)), generator=generator)[:count]

    def at(self, chosen: Tensor, *, heldout: bool) -> Tensor:
        """The samples (N, *shape) of these indices, on the device."""
        return self._side(heldout).at(chosen)

    def _side(self, heldout: bool) -> Store:
        samples = self.others if heldout else self.samples
        if samples is None:
            raise BadInputError(f"{self.where}: has no held-out samples to compare with")
        return samples

    def real(self, count: int, generator: torch.Generator, *, heldout: bool) -> Tensor:
        return self.at(self.choose(count, generator, heldout=heldout), heldout=heldout)

    def training_parts(self) -> Iterator[Tensor]:
        size = self.samples.at(torch.arange(1)).numel()
        for part in torch.arange(len(self.samples)).split(max(1, PART // size)):
            yield self.samples.at(part)

    def labelled(self, *, heldout: bool) -> tuple[Tensor, Tensor] | None:
        samples, labels = (self.others, self.other_labels) if heldout else (self.samples, self.labels)
        if samples is None or labels is None:
            return None
        return samples.at(torch.arange(len(samples))), labels

    def batches(self, batch_size: int, generator: torch.Generator, share: slice = WHOLE) -> Batches:
        if batch_size > len(self.samples):
            raise BadInputError(
                f"training.batch_size: {batch_size} is larger than the {len(self.samples)} samples of {self.where}; "
                "lower it"
            )
        return self.samples.batches(batch_size, generator, share)

    @property
    def size(self) -> int:
        return len(self.samples)

    def state_dict(self) -> Mapping[str, Any]:
        return self.state


class _Passes(Batches):
    """Passes over the samples, each in a new order; the remainder at the end of a pass is dropped."""

    def __init__(self, store: Store, batch_size: int, generator: torch.Generator, share: slice) -> None:
        self.store, self.batch_size, self.generator, self.share = store, batch_size, generator, share
        self._drawn = torch.empty(0, 0, dtype=torch.long, device=store.device)
        self._begin_pass()

    def _begin_pass(self) -> None:
        self._pass_state = self.generator.get_state()  # enough to draw the order of this pass again
        self._order = torch.randperm(len(self.store), generator=self.generator, device=self.store.device)
        self._position = 0

    def draw(self, count: int) -> None:
        size = len(range(*self.share.indices(self.batch_size)))
        if self._drawn.shape != (count, size):
            self._drawn = self._order.new_empty(count, size)
        done = 0
        while done < count:
            here = min(count - done, (len(self._order) - self._position) // self.batch_size)
            if here == 0:
                self._begin_pass()
                continue
            end = self._position + here * self.batch_size
            batches = self._order[self._position : end].view(here, self.batch_size)
            self._drawn[done : done + here] = batches[:, self.share]  # in place: a CUDA graph reads from here
            self._position, done = end, done + here

    def take(self, number: int) -> Tensor:
        return self.store.gather(self._drawn[number])

    def chosen(self, number: int) -> Tensor:
        return self._drawn[number]

    def state_dict(self) -> dict[str, Any]:
        return {"pass": self._pass_state, "position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.generator.set_state(state["pass"].cpu())
        self._begin_pass()
        self._position = state["position"]
