"""Random clouds and weights, and pytest settings, shared by the tests of `wgan_cli/transport`."""

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

DOUBLE = torch.float64

# Five points on a horizontal line, at distance 1 from each other, and two unit shifts.
FIVE = torch.stack([torch.arange(5.0), torch.zeros(5)], dim=-1)
UP = torch.tensor([0.0, 1.0])
ALONG = torch.tensor([1.0, 0.0])

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 12)
orders = st.sampled_from([1, 1.5, 2, 3])
few = settings(max_examples=25, deadline=None, derandomize=True)
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def masses(seed: int, *shape: int) -> Tensor:
    """Positive weights that do not sum to 1."""
    return 0.1 + torch.rand(shape, generator=torch.Generator().manual_seed(seed + 1), dtype=DOUBLE)


def covariance(seed: int, *shape: int) -> Tensor:
    """A covariance matrix with eigenvalues of at least 0.1, of shape (*shape, shape[-1])."""
    factor = normal(seed, *shape, shape[-1])
    return factor @ factor.mT + 0.1 * torch.eye(shape[-1], dtype=DOUBLE)


def shuffled(seed: int, x: Tensor, dim: int) -> Tensor:
    return x.index_select(dim, torch.randperm(x.shape[dim], generator=torch.Generator().manual_seed(seed)))


def tracked(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Copies that require gradients."""
    return tuple(tensor.clone().requires_grad_() for tensor in tensors)


def simplex(weights: Tensor) -> np.ndarray:
    """Weights divided by their sum, as POT expects them."""
    return (weights / weights.sum()).numpy()
