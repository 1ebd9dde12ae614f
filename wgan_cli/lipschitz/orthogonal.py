"""Orthogonal weights: critics of slope at most 1 by construction."""

from typing import Literal

from torch import nn
from torch.nn.utils.parametrizations import orthogonal

from wgan_cli.lipschitz.base import LipschitzSpec


class Orthogonal(LipschitzSpec):
    """Keeps the weights of fully connected layers orthogonal (Anil et al., 2019).

    A weight with orthonormal rows or columns makes no distance longer. With activations of slope at most 1, nor does
    the critic: it needs no penalty, and its gap is itself at most W1. To come near W1, such critics need `activation:
    maxmin`, which keeps the length of gradients; relu and others lose some in each layer.
    """

    kind: Literal["orthogonal"] = "orthogonal"

    @property
    def bounds_slope(self) -> bool:
        return True

    @property
    def proves_gap(self) -> bool:
        return True

    @property
    def needs_eager(self) -> bool:
        return True  # torch computes the weights of square layers by steps that depend on their values

    def attach(self, critic: nn.Module) -> nn.Module:
        for module in list(critic.modules()):
            if isinstance(module, nn.Linear):
                orthogonal(module)
        return critic
