"""Compares generated samples with real ones: distances with their floors, classes, and the critic on both splits.

A floor is the same figure between two equally large sets of real samples: the value of a perfect generator.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from wgan_cli import transport
from wgan_cli.data import Dataset
from wgan_cli.evaluation.classifier import Classifier, trained_classifier
from wgan_cli.lipschitz.bound import estimate
from wgan_cli.networks.base import in_batches
from wgan_cli.runs.loaded import LoadedRun

Figures = dict[str, float]


def evaluate(loaded: LoadedRun, num: int, seed: int) -> Figures:
    """Figures of `num` generated samples (seeds `seed`, `seed` + 1, ...) against as many held-out real ones.

    If the data has too few held-out samples for two sets of `num`, all sets are as large as the data allows. Figures
    have the same names as in training.
    """
    dataset = loaded.config.data.load(loaded.device)
    generator = torch.Generator().manual_seed(seed)
    held_out = dataset.real(2 * num, generator, heldout=True)
    count = len(held_out) // 2
    real, other = held_out[:count], held_out[count : 2 * count]
    fake = loaded.sample(range(seed, seed + count))
    figures: Figures = {"step": loaded.step, "samples": count}
    figures |= {"samples/mean": fake.mean().item(), "samples/std": fake.std().item()}
    exact = _beside_floor(lambda x, _: _numbers(dataset.exact_distances(x)), fake, real, other)
    figures |= exact or _beside_floor(set_distances, fake, real, other)
    classifier = trained_classifier(dataset, loaded.config.data.kind, loaded.device)
    if classifier is not None:
        figures |= class_figures(classifier, fake, real, other)
    return figures | critic_figures(loaded.critic, fake, dataset, generator)


def _numbers(figures: dict[str, Tensor]) -> Figures:
    return {name: value.item() for name, value in figures.items()}


def _beside_floor(measure: Callable[[Tensor, Tensor], Figures], fake: Tensor, real: Tensor, other: Tensor) -> Figures:
    """Each figure between `fake` and `real`, followed by its floor: the figure between `other` and `real`."""
    found, floor = measure(fake, real), measure(other, real)
    return {key: value for name in found for key, value in ((name, found[name]), (f"{name}_floor", floor[name]))}


def set_distances(samples: Tensor, real: Tensor) -> Figures:
    """Distances between two equally large sets of samples (N, *shape), Euclidean over all of a sample's values."""
    x, y = samples.flatten(1).float(), real.flatten(1).float()
    epsilon = torch.cdist(x, y).mean().item() / 100
    directions = torch.Generator(x.device).manual_seed(0)
    return {
        "truth/w1": transport.exact_wasserstein(x, y).item(),
        "truth/sliced_w1": transport.sliced_wasserstein(x, y, generator=directions).item(),
        "truth/sinkhorn_divergence": transport.sinkhorn_divergence(x, y, epsilon, p=1, tolerance=1e-4).item(),
    }


def critic_figures(critic: nn.Module, fake: Tensor, dataset: Dataset, generator: torch.Generator) -> Figures:
    """The critic's gap, Lipschitz constant and W1 estimate, with real samples of training and with held-out ones."""
    figures: Figures = {}
    for split in ("train", "heldout"):
        real = dataset.real(len(fake), generator, heldout=split == "heldout")
        found = estimate(critic, real, fake[: len(real)])
        figures |= {f"critic/gap_{split}": found.gap, f"critic/lipschitz_{split}": found.lipschitz}
        if found.w1 is not None:
            figures[f"critic/w1_{split}"] = found.w1
    return figures


def class_figures(classifier: Classifier, fake: Tensor, real: Tensor, other: Tensor) -> Figures:
    """Fréchet distance between features, and the share of each class among the generated samples.

    The Fréchet distance is W2² between the normals with the moments of the features, as in FID (Heusel et al., 2017).
    The features are the last hidden layer of this classifier, so compare only figures of the same classifier.
    """

    def frechet(x: Tensor, y: Tensor) -> Figures:
        moments = [_moments(in_batches(classifier.features, samples)) for samples in (x, y)]
        return {f"frechet/{classifier.name}": transport.gaussian_w2_squared(*moments[0], *moments[1]).item()}

    figures = {f"accuracy/{classifier.name}": classifier.accuracy} | _beside_floor(frechet, fake, real, other)
    scores = in_batches(classifier.head, in_batches(classifier.features, fake))
    shares = scores.argmax(1).bincount(minlength=scores.shape[1]) / len(fake)
    figures |= {f"class_share/{label}": share for label, share in enumerate(shares.tolist())}
    return figures | {"class_share/least": shares.min().item(), "class_share/greatest": shares.max().item()}


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    features = features.double().cpu()
    return features.mean(0), torch.cov(features.T)
