"""A source that draws new samples without end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from wgan_cli.data.base import WHOLE, Batches
from wgan_cli.data.finite import ReferenceDataset

Draw = Callable[[int, torch.Generator], Tensor]
"""`draw(count, generator)` returns `count` new samples (count, *shape) on the generator's device."""


@dataclass(frozen=True)
class EndlessDataset(ReferenceDataset):
    """Samples that `draw` generates. Every batch is new, so no sample has to be held out."""

    draw: Draw
    device: torch.device

    @cached_property
    def reference(self) -> tuple[Tensor, Tensor]:
        """Two sets of 1,000 samples that no batch holds."""
        first, second = self.draw(2000, torch.Generator().manual_seed(0)).to(self.device).split(1000)
        return first, second

    def heldout(self) -> Tensor | None:
        return None

    def real(self, count: int, generator: torch.Generator, *, heldout: bool) -> Tensor:
        return self.draw(count, generator).to(self.device)

    def batches(self, batch_size: int, generator: torch.Generator, share: slice = WHOLE) -> Batches:
        return _Draws(self.draw, batch_size, generator, share)


@dataclass(frozen=True)
class _Draws(Batches):
    """Batches of new samples. Their only state is that of the generator, which `Streams` saves."""

    draw_samples: Draw
    batch_size: int
    generator: torch.Generator
    share: slice

    def draw(self, count: int) -> None:
        return None

    def take(self, number: int) -> Tensor:
        return self.draw_samples(self.batch_size, self.generator)[self.share]

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        return None
