"""Whether generated samples are copies of training samples."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from wgan_cli.measures.statistic import Figures, Statistic
from wgan_cli.transport.costs import in_pieces


@dataclass(frozen=True)
class Nearest:
    """Of each of some samples (N, *shape), the nearest training sample."""

    distances: Tensor
    """Euclidean, over all of a sample's values: (N,)."""
    samples: Tensor
    """(N, *shape)"""

    @classmethod
    def among(cls, training: Iterable[Tensor], samples: Tensor) -> "Nearest":
        """The nearest to each of `samples` (N, *shape) in the parts (M, *shape) of the training samples."""
        best = torch.full((len(samples),), torch.inf, device=samples.device)
        found = torch.empty_like(samples)
        flat = samples.flatten(1)
        centre = flat.mean(0)  # distances by products of matrices round less near the origin
        pieces = (piece for part in training for piece in in_pieces(part, len(samples)))
        for part in pieces:
            number = torch.cdist(flat - centre, part.flatten(1) - centre).argmin(1)
            exact = torch.linalg.vector_norm(flat - part.flatten(1)[number], dim=1)
            closer = exact < best
            best = torch.where(closer, exact, best)
            found[closer] = part[number[closer]]
        return cls(best, found)

    def split(self, count: int) -> tuple["Nearest", "Nearest"]:
        """Of the first `count` samples, and of the others."""
        first, second = slice(count), slice(count, None)
        return Nearest(self.distances[first], self.samples[first]), Nearest(
            self.distances[second], self.samples[second]
        )


def memorisation(fake: Nearest, heldout: Nearest) -> Statistic:
    """Distances of generated samples to their nearest training samples, beside those of held-out samples.

    `memorisation/nearest` is the median. `memorisation/copies` is the share of generated samples that are as near to a
    training sample as the nearest 1 % of held-out samples are: about 1 % for a perfect generator, more if it
    copies, or if its samples stay where training samples are dense.
    """
    return Statistic(_memorisation_figures, (fake.distances.cpu(), heldout.distances.cpu()))


def _memorisation_figures(fake: Tensor, heldout: Tensor) -> Figures:
    limit = heldout.double().quantile(0.01)
    figures = {}
    for end, distances in (("", fake), ("_floor", heldout)):
        figures[f"memorisation/nearest{end}"] = distances.median().item()
        figures[f"memorisation/copies{end}"] = (distances <= limit).double().mean().item()
    return figures
