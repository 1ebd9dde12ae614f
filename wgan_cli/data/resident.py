"""A finite set of samples in the device's memory, and passes over it in random order."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from wgan_cli.data.base import WHOLE, Batches, Dataset, Figures
from wgan_cli.errors import BadInputError
from wgan_cli.transport import exact_wasserstein


def scale(samples: Tensor) -> Tensor:
    """Scales uint8 0..255 to [-1, 1], in torch's default type (normally float32). Returns other types unchanged."""
    if samples.dtype != torch.uint8:
        return samples
    return samples.to(torch.get_default_dtype()).mul_(2 / 255).sub_(1)


@dataclass(frozen=True)
class ResidentDataset(Dataset):
    """Samples (N, *shape) on the device. Images stay uint8, which needs a quarter of the memory of float32."""

    samples: Tensor
    where: str
    """The config key that selected the samples, for messages."""
    labels: Tensor | None = None
    others: Tensor | None = None
    """Samples that training never sees."""
    other_labels: Tensor | None = None

    @cached_property
    def _reference(self) -> tuple[Tensor, Tensor] | None:
        """Two equally large sets of held-out samples, at most 1,000 each, and always the same."""
        if self.others is None:
            return None
        count = min(len(self.others) // 2, 1000)
        chosen = self.real(2 * count, torch.Generator().manual_seed(0), heldout=True)
        return chosen[:count], chosen[count:]

    @cached_property
    def _floor(self) -> Tensor:
        """W1 between the two sets: the value of a perfect generator."""
        assert self._reference is not None
        first, second = self._reference
        return exact_wasserstein(first.flatten(1), second.flatten(1))

    def real(self, count: int, generator: torch.Generator, *, heldout: bool) -> Tensor:
        samples = self.others if heldout else self.samples
        if samples is None:
            raise BadInputError(f"{self.where}: has no held-out samples to compare with")
        chosen = torch.randperm(len(samples), generator=generator)[:count]
        return scale(samples[chosen.to(samples.device)])

    def labelled(self, *, heldout: bool) -> tuple[Tensor, Tensor] | None:
        samples, labels = (self.others, self.other_labels) if heldout else (self.samples, self.labels)
        return None if samples is None or labels is None else (scale(samples), labels)

    def heldout(self) -> Tensor | None:
        return None if self._reference is None else self._reference[0]

    def truth(self, samples: Tensor) -> Figures:
        """Exact W1 between generated and held-out samples (Euclidean distances of pixels in [-1, 1]), and its floor."""
        heldout = self.heldout()
        if heldout is None:
            return {}
        distance = exact_wasserstein(samples[: len(heldout)].flatten(1), heldout.flatten(1))
        return {"truth/w1": distance, "truth/w1_floor": self._floor}

    def batches(self, batch_size: int, generator: torch.Generator, share: slice = WHOLE) -> Batches:
        if batch_size > len(self.samples):
            raise BadInputError(
                f"training.batch_size: {batch_size} is larger than the {len(self.samples)} samples of {self.where}"
            )
        return _Passes(self.samples, batch_size, generator, share)


class _Passes(Batches):
    """Passes over the samples, each in a new order; the remainder at the end of a pass is dropped."""

    def __init__(self, samples: Tensor, batch_size: int, generator: torch.Generator, share: slice) -> None:
        self.samples, self.batch_size, self.generator, self.share = samples, batch_size, generator, share
        self._drawn = torch.empty(0, 0, dtype=torch.long, device=samples.device)
        self._begin_pass()

    def _begin_pass(self) -> None:
        self._pass_state = self.generator.get_state()  # from it, the order of this pass can be drawn again
        self._order = torch.randperm(len(self.samples), generator=self.generator, device=self.samples.device)
        self._position = 0

    def draw(self, count: int) -> None:
        size = len(range(*self.share.indices(self.batch_size)))
        if self._drawn.shape != (count, size):
            self._drawn = self._order.new_empty(count, size)
        for batch in self._drawn:  # in place: a CUDA graph reads from here
            if self._position + self.batch_size > len(self._order):
                self._begin_pass()
            batch.copy_(self._order[self._position : self._position + self.batch_size][self.share])
            self._position += self.batch_size

    def take(self, number: int) -> Tensor:
        return scale(self.samples[self._drawn[number]])

    def state_dict(self) -> dict[str, Any]:
        return {"pass": self._pass_state, "position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.generator.set_state(state["pass"].cpu())
        self._begin_pass()
        self._position = state["position"]
