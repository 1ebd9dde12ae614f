"""Pairs of distributions in any dimension with known W1 and known slopes of the best critic.

After Korotin et al. (2022), "Kantorovich Strikes Back! Wasserstein GANs are not Optimal Transport?", section 4.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

SIDE = 2.5
POWER = 8


@dataclass(frozen=True)
class Funnels:
    """u(x) = min_n (‖x − centre_n‖ + height_n), a function of slope 1, whose negative is the best critic of a pair.

    Q is uniform in the cube [−2.5, 2.5]^D. P is Q moved along the rays of u: a ray runs from a funnel's centre to where
    another funnel takes over, or to the end of the cube, and a point at the fraction t of it goes to t⁸. u falls by the
    length that a point moves, so W1 is the mean of these lengths.
    """

    centres: Tensor
    """(funnels, D)"""
    heights: Tensor
    """(funnels,)"""

    @classmethod
    def draw(cls, count: int, dim: int, seed: int) -> "Funnels":
        """Centres uniform in the cube, and heights N(0, 0.1²)."""
        generator = torch.Generator().manual_seed(seed)
        centres = SIDE * (2 * torch.rand(count, dim, generator=generator, dtype=torch.float64) - 1)
        return cls(centres, 0.1 * torch.randn(count, generator=generator, dtype=torch.float64))

    def nearest(self, points: Tensor) -> Tensor:
        """The number of the funnel that each of the points (N, D) lies in: (N,)."""
        return (torch.cdist(points, self.centres) + self.heights).argmin(1)

    def slopes(self, points: Tensor) -> Tensor:
        """The gradient of the best critic, −∇u, at each of the points (N, D): (N, D)."""
        return -torch.nn.functional.normalize(points - self.centres[self.nearest(points)], dim=1)

    def moved(self, points: Tensor) -> Tensor:
        """The points (N, D) of Q as points of P."""
        return torch.cat([self._moved(part) for part in points.split(5000)])

    def _moved(self, points: Tensor) -> Tensor:
        number = self.nearest(points)
        centre = self.centres[number]
        length = torch.linalg.vector_norm(points - centre, dim=1)
        ray = (points - centre) / length[:, None]
        # Where the ray leaves the cube, and where it reaches another funnel: s + height = ‖c + s ray − c'‖ + height'.
        exit = ((SIDE * ray.sign() - centre) / ray).amin(1)
        higher = self.heights[number][:, None] - self.heights
        along = (ray * centre).sum(1, keepdim=True) - ray @ self.centres.T  # ray · (c − c')
        closing = 2 * (higher - along)
        meeting = (torch.cdist(self.centres, self.centres).square()[number] - higher.square()) / closing
        is_other = torch.arange(len(self.centres)) != number[:, None]
        meeting = torch.where((closing > 0) & is_other, meeting, torch.inf).amin(1)
        end = torch.minimum(exit, meeting)
        moved = centre + ray * (end * (length / end) ** POWER)[:, None]
        return torch.where(length[:, None] > 0, moved, points)  # a centre has no ray

    def sample(self, count: int, seed: int) -> tuple[Tensor, Tensor, float]:
        """Points of P (count, D), other points of Q (count, D), and W1, as the mean of as many lengths.

        The two sets are independent of each other.
        """
        generator = torch.Generator().manual_seed(seed)
        dim = self.centres.shape[1]
        before, others = SIDE * (2 * torch.rand(2, count, dim, generator=generator, dtype=torch.float64) - 1)
        after = self.moved(before)
        return after, others, torch.linalg.vector_norm(after - before, dim=1).mean().item()
