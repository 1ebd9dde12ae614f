"""The generator's noise input."""

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.quasirandom import SobolEngine

from wgan_cli.spec import Spec


class Latent(Spec):
    """The generator's noise input: `dim` independent numbers per sample."""

    dim: int = Field(ge=1)
    """The number of values of a latent."""
    kind: Literal["normal", "uniform"] = "normal"
    """`normal` is N(0, 1), `uniform` is U(-1, 1)."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` new latents (count, dim) on the generator's device."""
        size = (count, self.dim)
        if self.kind == "normal":
            return torch.randn(size, generator=generator, device=generator.device)
        return torch.rand(size, generator=generator, device=generator.device).mul_(2).sub_(1)

    def from_seeds(self, seeds: Iterable[int]) -> Tensor:
        """One latent per seed, (len(seeds), dim), on the CPU. It depends on its seed alone, not on the device or on the
        other seeds."""
        generator = torch.Generator()
        drawn = [self.draw(1, generator.manual_seed(seed)) for seed in seeds]
        return torch.cat(drawn) if drawn else torch.empty(0, self.dim)

    def spread(self, count: int) -> Tensor:
        """`count` latents (count, dim) on the CPU, always the same ones, that cover the law more evenly than draws do.

        They are points of a scrambled Sobol sequence (Owen, 1995), so means over them vary less from one choice of
        latents to another. Beyond the sequence's 21,201 dimensions they are draws.
        """
        if self.dim > SobolEngine.MAXDIM:
            return self.draw(count, torch.Generator().manual_seed(0))
        # The sequence has 30 bits, and can hold 0, where a normal would be infinite: half a bit more avoids that.
        uniform = SobolEngine(self.dim, scramble=True, seed=0).draw(count, dtype=torch.float64) + 2.0**-31
        return (torch.special.ndtri(uniform) if self.kind == "normal" else 2 * uniform - 1).float()

    def interpolate(self, first: int, last: int, steps: int) -> Tensor:
        """Latents (steps, dim) on the path from the latent of seed `first` to that of seed `last`.

        Normal latents follow the arc between the two, because the middle of the straight line is shorter than almost
        every draw (White, 2016). Uniform latents follow the straight line.
        """
        start, end = self.from_seeds([first, last])
        t = torch.linspace(0, 1, steps)[:, None]
        if self.kind == "uniform" or self.dim == 1 or first == last:
            return torch.lerp(start, end, t)
        angle = torch.acos(torch.nn.functional.cosine_similarity(start, end, dim=0).clamp(-1, 1))
        return (torch.sin((1 - t) * angle) * start + torch.sin(t * angle) * end) / torch.sin(angle)
