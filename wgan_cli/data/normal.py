"""Normals: an endless source whose distances are known in closed form."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from wgan_cli.data.base import WHOLE, Batches, Dataset, DataSpec, Figures
from wgan_cli.transport import gaussian_w2, wasserstein_1d_normal


class Normal(DataSpec):
    """Independent draws of N(mean, std²), endless and new each time; one sample is `features` draws."""

    kind: Literal["normal"] = "normal"
    mean: float = 0.0
    std: float = Field(default=1.0, gt=0)
    features: int = Field(default=1, ge=1)
    """1 is the true one-dimensional problem; 512 is "512 independent draws as one sample"."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.features,)

    @property
    def targets(self) -> dict[str, float]:
        return {"samples/mean": self.mean, "samples/std": self.std}

    def load(self, device: torch.device) -> Dataset:
        return _NormalDataset(self, device)

    def density(self, x: Tensor) -> Tensor | None:
        return torch.exp(-0.5 * ((x - self.mean) / self.std) ** 2) / (self.std * math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class _NormalDataset(Dataset):
    spec: Normal
    device: torch.device

    def real(self, count: int, generator: torch.Generator, *, heldout: bool) -> Tensor:
        draws = torch.randn(count, self.spec.features, generator=generator)
        return draws.mul_(self.spec.std).add_(self.spec.mean).to(self.device)

    def batches(self, batch_size: int, generator: torch.Generator, share: slice = WHOLE) -> Batches:
        return _NormalBatches(self.spec, batch_size, generator, share)

    def exact_distances(self, samples: Tensor) -> Figures:
        """Of all values pooled: exact W1 and W2 to the normal, and W2 between the normals with the same moments."""
        values = samples.flatten().double().cpu()
        mean, std = self.spec.mean, self.spec.std
        target = torch.tensor([mean], dtype=torch.float64), torch.tensor([[std**2]], dtype=torch.float64)
        return {
            "truth/w1": wasserstein_1d_normal(values, mean, std),
            "truth/w2": wasserstein_1d_normal(values, mean, std, p=2),
            "truth/gaussian_w2": gaussian_w2(values.mean()[None], values.var()[None, None], *target),
        }

    def figures(self, generated: Callable[[], Tensor]) -> Figures:
        values = generated().flatten().cpu()  # a few thousand; MPS has no float64
        truth = wasserstein_1d_normal(values, self.spec.mean, self.spec.std)
        return {"samples/mean": values.mean(), "samples/std": values.std(), "truth/w1": truth}


@dataclass(frozen=True)
class _NormalBatches(Batches):
    """The position in the stream is the generator's own state, which `Streams` saves."""

    spec: Normal
    batch_size: int
    generator: torch.Generator
    share: slice

    def draw(self, count: int) -> None:
        return None

    def take(self, number: int) -> Tensor:
        size = (self.batch_size, self.spec.features)
        draws = torch.randn(size, generator=self.generator, device=self.generator.device)[self.share]
        return draws.mul_(self.spec.std).add_(self.spec.mean)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        return None
