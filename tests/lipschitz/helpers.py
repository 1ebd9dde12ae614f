"""Critics and samples that the tests of `wgan_cli/lipschitz` share."""

import math

import torch
from torch import Tensor, nn

SHAPES = [(1,), (512,), (1, 28, 28), (3, 32, 32)]


def uniform(real: Tensor) -> Tensor:
    """One mixing weight a sample, the same each time."""
    return torch.rand(len(real), generator=torch.Generator().manual_seed(0), dtype=real.dtype)


def linear_critic(shape: tuple[int, ...], norm: float) -> nn.Module:
    """critic(x) = w·x + 5 with ‖w‖₂ = norm: its slope is known everywhere."""
    head = nn.Linear(math.prod(shape), 1).double()
    with torch.no_grad():
        head.weight.mul_(norm / head.weight.norm())
        head.bias.fill_(5)
    return nn.Sequential(nn.Flatten(), head, nn.Flatten(0))


def pair(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Six real and six fake samples."""
    torch.manual_seed(0)
    return torch.randn(6, *shape, dtype=torch.float64), torch.randn(6, *shape, dtype=torch.float64)
