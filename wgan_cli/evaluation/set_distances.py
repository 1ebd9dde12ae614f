"""Distances between equally large sets of samples, with their floors and intervals."""

from functools import partial

import torch
from torch import Tensor

from wgan_cli import transport
from wgan_cli.errors import BadInputError
from wgan_cli.measures.statistic import Figures, Statistic, beside_floor
from wgan_cli.transport.line import random_directions


def set_distances(fake: Tensor, real: Tensor, other: Tensor) -> Figures:
    """Distances between equally large sets of samples (N, *shape), Euclidean over all of a sample's values.

    Raises `BadInputError` for sets that are too large.
    """
    sets = [samples.flatten(1).float() for samples in (fake, real, other)]
    figures: Figures = {}
    try:
        for distance in (partial(exact_w1, "truth/w1"), sliced_w1, entropic_divergence):
            figures |= beside_floor(distance, *sets)
    except ValueError as error:
        raise BadInputError(f"{error}; lower --num") from error
    return figures


def exact_w1(name: str, x: Tensor, y: Tensor) -> Statistic:
    """W1 between points (N, D) and (M, D). The potentials, whose means differ by it, are not solved for again in each
    draw: to first order it depends on the draw by these means alone (del Barrio and Loubes, 2019)."""
    return Statistic(lambda f, g: {name: (f.mean() - g.mean()).item()}, transport.dual_potentials(x, y))


def sliced_w1(x: Tensor, y: Tensor) -> Statistic:
    """Sliced W1, between the projections on the same directions."""
    directions = random_directions(x.shape[1], 256, torch.Generator().manual_seed(0)).to(x)

    def distance(x: Tensor, y: Tensor) -> Figures:
        return {"truth/sliced_w1": transport.wasserstein_1d(x.T.contiguous(), y.T.contiguous()).mean().item()}

    return Statistic(distance, [x @ directions, y @ directions])


def entropic_divergence(x: Tensor, y: Tensor) -> Statistic:
    """The Sinkhorn divergence, blurred by a hundredth of the mean distance; in each draw to first order in the weights
    of the points, as for `exact_w1`."""
    epsilon = torch.cdist(x, y).mean().item() / 100 or 1.0  # where all points coincide, any will do
    weights = [points.new_ones(len(points)).requires_grad_() for points in (x, y)]
    divergence = transport.sinkhorn_divergence(x, y, epsilon, 1, weights[0], weights[1], tolerance=1e-4)
    gradients = torch.autograd.grad(divergence, weights)
    changes = [len(gradient) * gradient for gradient in gradients]
    value = divergence.item()
    return Statistic(lambda f, g: {"truth/sinkhorn_divergence": value + (f.mean() + g.mean()).item()}, changes)
