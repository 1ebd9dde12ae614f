"""Normal distributions: an endless source whose distances are known in closed form."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from wgan_cli.data.base import Dataset, DataSpec, Figures, View
from wgan_cli.data.endless import EndlessDataset
from wgan_cli.transport import gaussian_w2, wasserstein_1d_normal


class Normal(DataSpec):
    """Independent draws from N(mean, std²), without end; one sample is `features` draws."""

    kind: Literal["normal"] = "normal"
    mean: float = 0.0
    """Of each value."""
    std: float = Field(default=1.0, gt=0)
    """The standard deviation of each value."""
    features: int = Field(default=1, ge=1)
    """1 is the one-dimensional problem; with 512, one sample is 512 independent draws."""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (self.features,)

    @property
    def view(self) -> View:
        return "pooled"

    @property
    def targets(self) -> dict[str, float]:
        return {"samples/mean": self.mean, "samples/std": self.std}

    @property
    def pooled(self) -> str:
        """The ending of names of distances: of pooled values, they are not those that a critic of samples sees."""
        return "" if self.features == 1 else "_pooled"

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """New samples (count, features) on the generator's device."""
        draws = torch.randn(count, self.features, generator=generator, device=generator.device)
        return draws.mul_(self.std).add_(self.mean)

    def load(self, device: torch.device) -> Dataset:
        return _NormalDataset(self.draw, device, self)

    def density(self, x: Tensor) -> Tensor | None:
        return torch.exp(-0.5 * ((x - self.mean) / self.std) ** 2) / (self.std * math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class _NormalDataset(EndlessDataset):
    spec: Normal

    def exact_distances(self, samples: Tensor) -> Figures:
        """Of all values pooled: exact W1 and W2 to the normal, and W2 between it and the normal with their moments."""
        values = samples.flatten().cpu().double()
        mean, std = self.spec.mean, self.spec.std
        target = torch.tensor([mean], dtype=torch.float64), torch.tensor([[std**2]], dtype=torch.float64)
        of = self.spec.pooled
        return {
            f"truth/w1{of}": wasserstein_1d_normal(values, mean, std),
            f"truth/w2{of}": wasserstein_1d_normal(values, mean, std, p=2),
            f"truth/gaussian_w2{of}": gaussian_w2(values.mean()[None], values.var()[None, None], *target),
        }

    def truth(self, samples: Tensor) -> Figures:
        return {}  # the exact ones are cheap enough for every logged iteration

    def figures(self, generated: Callable[[], Tensor]) -> Figures:
        values = generated().flatten().cpu()  # only a few thousand; MPS has no float64
        truth = wasserstein_1d_normal(values, self.spec.mean, self.spec.std)
        return {"samples/mean": values.mean(), "samples/std": values.std(), f"truth/w1{self.spec.pooled}": truth}
