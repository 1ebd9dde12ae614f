"""Generated against real: distances beside their floors, classes, and what the critic says on either split.

A floor is the same figure between two sets of real samples of the same size: what a perfect generator would have.
"""

import hashlib
import io
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from wgan_cli import transport
from wgan_cli.data import Dataset
from wgan_cli.errors import BadInputError
from wgan_cli.files import load_plain, write_atomically
from wgan_cli.lipschitz import between, slopes
from wgan_cli.models import generate
from wgan_cli.sampling import LoadedRun, draw

log = logging.getLogger("wgan")
Figures = dict[str, float]


def evaluate(loaded: LoadedRun, device: torch.device, num: int, seed: int) -> Figures:
    """Figures of `num` generated samples (seeds `seed`, `seed` + 1, ...) against as many held-out real ones.

    Where the data has too few held-out samples for two sets of `num`, all sets are as large as it allows.
    """
    dataset = loaded.config.data.load(device)
    generator = torch.Generator().manual_seed(seed)
    held_out = dataset.real(2 * num, generator, heldout=True)
    count = len(held_out) // 2
    real, other = held_out[:count], held_out[count : 2 * count]
    fake = draw(loaded, loaded.config.latent.from_seeds(range(seed, seed + count)), device)
    figures: Figures = {"step": loaded.step, "samples": count}
    figures |= {"mean": fake.mean().item(), "std": fake.std().item()}
    figures |= _beside_floor(lambda x, _: _numbers(dataset.against_target(x)), fake, real, other)
    if loaded.config.data.is_image:
        figures |= _beside_floor(cloud_distances, fake, real, other)
    classifier = trained_classifier(dataset, device)
    if classifier is not None:
        figures |= class_figures(classifier, fake, real, other)
    return figures | critic_figures(loaded.critic, fake, dataset, generator)


def _numbers(figures: dict[str, Tensor]) -> Figures:
    return {name: value.item() for name, value in figures.items()}


def _beside_floor(measure: Callable[[Tensor, Tensor], Figures], fake: Tensor, real: Tensor, other: Tensor) -> Figures:
    """Each figure of fake against real, followed by its floor: the other real samples against the same."""
    found, floor = measure(fake, real), measure(other, real)
    return {key: value for name in found for key, value in ((name, found[name]), (f"{name}_floor", floor[name]))}


def cloud_distances(samples: Tensor, real: Tensor) -> Figures:
    """Distances between two sets of as many samples (N, *shape), Euclidean over all of a sample's values."""
    x, y = samples.flatten(1).float(), real.flatten(1).float()
    epsilon = torch.cdist(x, y).mean().item() / 100
    directions = torch.Generator(x.device).manual_seed(0)
    return {
        "w1": transport.exact_wasserstein(x, y).item(),
        "sliced_w1": transport.sliced_wasserstein(x, y, generator=directions).item(),
        "sinkhorn_divergence": transport.sinkhorn_divergence(x, y, epsilon, p=1, tolerance=1e-4).item(),
    }


def critic_figures(critic: nn.Module, fake: Tensor, dataset: Dataset, generator: torch.Generator) -> Figures:
    """The critic's gap, Lipschitz constant and W1 estimate on real samples of training, and on held-out ones."""
    figures: Figures = {}
    for split in ("train", "heldout"):
        real = dataset.real(len(fake), generator, heldout=split == "heldout")
        alike = fake[: len(real)]
        gap = (generate(critic, real).mean() - generate(critic, alike).mean()).item()
        ways = between(real, alike, torch.rand(len(real), generator=generator).to(real.device))
        steepest = max(slopes(critic, part).max().item() for part in torch.cat([real, alike, ways]).split(512))
        figures |= {f"critic/gap_{split}": gap, f"critic/lipschitz_{split}": steepest}
        if steepest > 0:  # a critic that is flat everywhere says nothing
            figures[f"critic/w1_{split}"] = gap / steepest
    return figures


# --- classes -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Classifier:
    """A small convolutional network that knows the data's classes; `name` says which, in names of figures."""

    features: nn.Module
    head: nn.Module
    accuracy: float
    """On the split that training never sees."""
    name: str = "mnist-cnn"


def class_figures(classifier: Classifier, fake: Tensor, real: Tensor, other: Tensor) -> Figures:
    """Fréchet distance between features, and the share of each class among the generated samples.

    The Fréchet distance is W2² between the normals with the features' moments, as FID has it (Heusel et al.,
    2017), on this classifier's last hidden layer: only figures of the same classifier compare.
    """

    def frechet(x: Tensor, y: Tensor) -> Figures:
        moments = [_moments(generate(classifier.features, samples)) for samples in (x, y)]
        return {f"frechet/{classifier.name}": transport.gaussian_w2_squared(*moments[0], *moments[1]).item()}

    figures = {f"accuracy/{classifier.name}": classifier.accuracy} | _beside_floor(frechet, fake, real, other)
    scores = generate(classifier.head, generate(classifier.features, fake))
    shares = scores.argmax(1).bincount(minlength=scores.shape[1]) / len(fake)
    figures |= {f"class_share/{label}": share for label, share in enumerate(shares.tolist())}
    return figures | {"class_share/least": shares.min().item(), "class_share/greatest": shares.max().item()}


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    features = features.double().cpu()
    return features.mean(0), torch.cov(features.T)


def trained_classifier(dataset: Dataset, device: torch.device, epochs: int = 3) -> Classifier | None:
    """The classifier of the dataset's own labels, trained once and kept in the user's cache; None without labels.

    The cached file's name holds a checksum of the training samples, so that other data never meets it.
    """
    train, test = dataset.labelled(heldout=False), dataset.labelled(heldout=True)
    if train is None or test is None:
        return None
    content = hashlib.md5(train[0].cpu().numpy().tobytes() + train[1].cpu().numpy().tobytes(), usedforsecurity=False)
    cache = Path(platformdirs.user_cache_dir("wgan", appauthor=False)) / f"mnist-cnn-{content.hexdigest()}.pt"
    classes = int(train[1].max()) + 1
    with torch.random.fork_rng(devices=[]):  # a seed of its own, and none of the caller's numbers
        torch.manual_seed(0)
        network = _network(train[0].shape[1:], classes).to(device)
        if not _read_cache(network, cache):
            _fit(network, *train, epochs)
            _write_cache(network, cache)
    accuracy = (generate(network, test[0]).argmax(1) == test[1]).double().mean().item()
    return Classifier(network[:-1], network[-1], accuracy)


def _network(shape: torch.Size, classes: int) -> nn.Sequential:
    channels, height, width = shape
    return nn.Sequential(
        *(nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * (height // 4) * (width // 4), 64), nn.ReLU(), nn.Linear(64, classes)),
    )


def _fit(network: nn.Module, images: Tensor, labels: Tensor, epochs: int) -> None:
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    orders = [torch.randperm(len(images)).to(images.device) for _ in range(epochs)]
    for chosen in tqdm([part for order in orders for part in order.split(128)], desc="classifier", disable=None):
        optimizer.zero_grad()
        cross_entropy(network(images[chosen]), labels[chosen]).backward()
        optimizer.step()


def _read_cache(network: nn.Module, cache: Path) -> bool:
    if not cache.is_file():
        return False
    try:
        network.load_state_dict(load_plain(cache))
    except (BadInputError, RuntimeError, TypeError) as error:
        log.warning("%s; training the classifier again", error)
        return False
    return True


def _write_cache(network: nn.Module, cache: Path) -> None:
    content = io.BytesIO()
    torch.save({name: value.cpu() for name, value in network.state_dict().items()}, content)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(cache, content.getvalue())
    except OSError as error:  # the figures are right all the same; only the next evaluation takes longer
        log.warning("%s: the classifier can't be kept (%s)", cache, error.strerror)
