"""Critics of slope at most 1, whatever their weights: distances to learned anchors."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from wgan_cli.networks.base import CriticSpec, Shape
from wgan_cli.transport.costs import distances


class McShaneCritic(CriticSpec):
    """Distances to learned anchors, by the two extensions of McShane (1934).

    Any f of slope 1 is the largest of f(a) − ‖z − a‖ over all anchors a, and the smallest of f(b) + ‖z − b‖. The
    critic learns some of these anchors, their scores and the weights of the two forms. Its slope is at most 1 by
    construction, so its gap is at most W1: exactly so in evaluation mode, and up to rounding in training mode. Best for
    vectors of few to some dozens of values.
    """

    kind: Literal["mcshane"] = "mcshane"
    norm: Literal["none"] = "none"
    """None: a norm would change the slope."""
    init: Literal["torch"] = "torch"
    """Anchors begin as N(0, 1), scores as 0."""
    anchors: int = Field(default=256, ge=1)
    """Of each of the two forms."""
    temperature: float = Field(default=0.1, ge=1e-6)
    """In the unit of the samples: anchors whose terms are this near the largest learn together. A large one smooths."""

    @property
    def slope_one(self) -> bool:
        return True

    @property
    def steepens(self) -> None:
        return None

    def build(self, shape: Shape) -> nn.Module:
        return McShane(self.anchors, shape, self.temperature)

    def begin_between(self, critic: nn.Module, real: Tensor, fake: Tensor, stream: torch.Generator) -> None:
        assert isinstance(critic, McShane)
        critic.place_anchors(real, fake, stream)


class McShane(nn.Module):
    """f(z) = w · max_i (h_i − ‖z − a_i‖) + (1 − w) · min_i (l_i + ‖z − b_i‖), with a smooth maximum and minimum.

    The smooth maximum T · log Σ exp(·/T) has a weighted mean of the terms' gradients, so slope at most 1 too, and so
    has a mean of two such functions.
    """

    def __init__(self, anchors: int, shape: Shape, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        size = torch.Size(shape).numel()
        self.high, self.low = (nn.Parameter(torch.randn(anchors, size)) for _ in range(2))
        """The anchors a and b, (anchors, D)."""
        self.high_scores, self.low_scores = (nn.Parameter(torch.zeros(anchors)) for _ in range(2))
        self.balance = nn.Parameter(torch.zeros(1))
        """The logit of w."""

    @torch.no_grad()
    def place_anchors(self, real: Tensor, fake: Tensor, stream: torch.Generator) -> None:
        """Puts the anchors on samples (N, ...) and (M, ...): where f should be high, and where it should be low."""
        for anchors, samples in ((self.high, real), (self.low, fake)):
            chosen = torch.randint(len(samples), (len(anchors),), generator=stream, device=samples.device)
            anchors.copy_(samples[chosen].flatten(1))

    def forward(self, samples: Tensor) -> Tensor:
        with torch.autocast(samples.device.type, enabled=False):  # lengths in bfloat16 would be worth nothing
            points = samples.flatten(1).to(self.high.dtype)
            quick = self.training and torch.get_float32_matmul_precision() == "highest"
            lengths = _fast_distances if quick else distances
            high = self._smooth_max(self.high_scores - lengths(points, self.high))
            low = -self._smooth_max(-self.low_scores - lengths(points, self.low))
            weight = self.balance.sigmoid()
            return weight * high + (1 - weight) * low

    def _smooth_max(self, terms: Tensor) -> Tensor:
        """Over the last dimension. Terms far below the largest count as e^-30 each: smaller numbers are subnormal, and
        arithmetic with those takes ten times as long."""
        largest = terms.detach().amax(1, keepdim=True)
        shares = ((terms - largest) / self.temperature).clamp_min(-30).exp()
        return largest.squeeze(1) + self.temperature * shares.sum(1).log()


def _fast_distances(points: Tensor, anchors: Tensor) -> Tensor:
    """As `distances`, by one matrix product. It is rounded where points are near, which training does not mind."""
    centre = anchors.detach().mean(0)  # far from 0, the squares would leave no digits for the difference
    points, anchors = points - centre, anchors - centre
    squares = points.square().sum(1, keepdim=True) + anchors.square().sum(1)
    return torch.addmm(squares, points, anchors.T, alpha=-2).clamp_min(1e-6).sqrt()
