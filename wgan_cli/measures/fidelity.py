"""How close generated samples are to real ones in a space of features, and how much of the real ones they cover."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wgan_cli import transport
from wgan_cli.figure_names import is_figure
from wgan_cli.measures.classifier import Classifier
from wgan_cli.measures.statistic import Figures, Statistic, beside_floor
from wgan_cli.networks.base import in_batches
from wgan_cli.transport.costs import distances, in_pieces


def frechet(x: Tensor, y: Tensor) -> float:
    """W2² between the normals with the moments of the features (N, D) and (M, D), as in FID (Heusel et al., 2017)."""
    moments = [(features.mean(0), torch.cov(features.T)) for features in (x.cpu().double(), y.cpu().double())]
    return transport.gaussian_w2_squared(*moments[0], *moments[1]).item()


def class_figures(
    classifier: Classifier, fake: Tensor, real: Tensor, other: Tensor, names: Sequence[str] = ()
) -> Figures:
    """Fréchet distance between features, and the share of each class among the generated samples, by the `names` of
    the classes or their numbers.

    The features are the last hidden layer of this classifier, so compare only figures of the same classifier.
    """
    name = f"frechet/{classifier.name}"
    features = [in_batches(classifier.features, samples) for samples in (fake, real, other)]
    figures = {f"accuracy/{classifier.name}": classifier.accuracy}
    figures |= beside_floor(lambda x, y: Statistic(lambda a, b: {name: frechet(a, b)}, (x, y)), *features)
    scores = in_batches(classifier.head, features[0])
    count = scores.shape[1]  # fewer than names where no sample to train on has the last classes
    labels = names[:count] if all(map(_is_free, names)) and names else [str(number) for number in range(count)]
    return figures | Statistic(lambda classes: _shares(classes, labels), [scores.argmax(1)]).with_intervals()


def _is_free(name: str) -> bool:
    """Whether no other figure could have the name of this class's share."""
    return name not in ("least", "greatest") and is_figure(name)


def _shares(classes: Tensor, names: Sequence[str]) -> Figures:
    """Of each class, called so, among the samples of these classes (N,)."""
    shares = (classes.bincount(minlength=len(names)) / len(classes)).tolist()
    figures = {f"class_share/{name}": share for name, share in zip(names, shares, strict=True)}
    return figures | {"class_share/least": min(shares), "class_share/greatest": max(shares)}


PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS = 3, 5
"""As in the two papers."""


@dataclass(frozen=True)
class _Balls:
    """A ball around each of some points (N, D), which reaches to its k-th nearest neighbour among the others."""

    points: Tensor
    radii: Tensor
    """(N,)"""

    @classmethod
    def around(cls, points: Tensor, neighbours: int) -> "_Balls":
        nearest = [
            distances(part, points).topk(neighbours + 1, largest=False).values[:, -1]  # the first is the point itself
            for part in in_pieces(points, len(points))
        ]
        return cls(points, torch.cat(nearest))

    def holding(self, others: Tensor) -> tuple[Tensor, Tensor]:
        """For each of `others` (M, D), how many balls hold it: (M,). For each ball, whether it holds any: (N,)."""
        counts, holds = [], torch.zeros(len(self.points), dtype=torch.bool, device=others.device)
        for part in in_pieces(others, len(self.points)):
            inside = distances(part, self.points) <= self.radii
            counts.append(inside.sum(1))
            holds |= inside.any(0)
        return torch.cat(counts), holds


def overlap(fake: Tensor, real: Tensor) -> Statistic:
    """How far two sets of points (N, D) and (M, D) overlap, by balls around each to a near neighbour of its own set.

    Of Kynkäänniemi et al. (2019): `precision`, the share of generated points within a ball of a real one, and `recall`,
    the share of real points within a ball of a generated one. Of Naeem et al. (2020): `density`, the mean number of
    real balls that hold a generated point, by their expected number, and `coverage`, the share of real balls that hold
    any. Larger is better; `density` may exceed 1. Compare with their floors, which are not 1. Intervals take the balls
    as given. Raises ValueError for sets of fewer than 6 points.
    """
    if min(len(fake), len(real)) <= DENSITY_NEIGHBOURS:
        raise ValueError(f"precision and density need more than {DENSITY_NEIGHBOURS} samples in each set")
    held, _ = _Balls.around(real, PRECISION_NEIGHBOURS).holding(fake)
    recalled, _ = _Balls.around(fake, PRECISION_NEIGHBOURS).holding(real)
    counts, covered = _Balls.around(real, DENSITY_NEIGHBOURS).holding(fake)
    held, recalled, counts, covered = (found.cpu() for found in (held, recalled, counts, covered))
    of_fake = torch.stack([(held > 0).double(), counts.double() / DENSITY_NEIGHBOURS], 1)
    of_real = torch.stack([(recalled > 0).double(), covered.double()], 1)
    return Statistic(_overlap_figures, (of_fake, of_real))


def _overlap_figures(of_fake: Tensor, of_real: Tensor) -> Figures:
    precision, density = of_fake.mean(0).tolist()
    recall, coverage = of_real.mean(0).tolist()
    figures = {"precision": precision, "recall": recall, "density": density, "coverage": coverage}
    return {f"fidelity/{name}": value for name, value in figures.items()}
