"""A small classifier of a dataset's own labels, trained once and kept in the user's cache."""

import hashlib
import io
import logging
import math
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from wgan_cli.bars import tracked
from wgan_cli.data import Dataset
from wgan_cli.errors import BadInputError
from wgan_cli.files import creations, load_plain, write_atomically
from wgan_cli.networks.base import in_batches

log = logging.getLogger("wgan")
MOST_CLASSES = 100
"""A classifier this small learns no more."""
SMALLEST_SIDE = 4
"""In pixels: it halves them twice."""
WIDTH = 1.64
"""By so many standard deviations a classifier has to be better than a guess; one that learned nothing is so in 5 %."""


@dataclass(frozen=True)
class Classifier:
    """A small convolutional network that predicts the classes of a dataset."""

    name: str
    """Part of the names of figures, such as `frechet/mnist-cnn`."""
    features: nn.Module
    """Images (N, C, H, W) to its last hidden layer (N, 64)."""
    head: nn.Linear
    """Features (N, 64) to logits (N, classes)."""
    accuracy: float
    """The share of held-out samples whose class is predicted correctly."""

    @property
    def count(self) -> int:
        """The number of classes."""
        return self.head.out_features

    def classes(self, images: Tensor) -> Tensor:
        """The predicted classes (N,)."""
        return in_batches(self.head, in_batches(self.features, images)).argmax(1)


EPOCHS, BATCH, LEAST_STEPS = 3, 128, 200
"""Passes over the data, as many more as small data need for so many steps, in batches of this size."""


def trained_classifier(dataset: Dataset, kind: str, device: torch.device) -> Classifier | None:
    """The classifier of a dataset of this `kind`, from the cache or trained now; None for data without labels, for
    samples that are no images or fields, and, with a warning, if it does no better than a guess.

    The name of the cached file contains a checksum of the training samples, so it is never used for other data.
    """
    train, test = dataset.labelled(heldout=False), dataset.labelled(heldout=True)
    if train is None or test is None or not 2 <= int(train[1].max()) + 1 <= MOST_CLASSES:
        return None
    if train[0].ndim != 4 or min(train[0].shape[-2:]) < SMALLEST_SIDE:
        return None
    guessed = test[1].bincount().max().item() / len(test[1])
    better = guessed + WIDTH * math.sqrt(guessed * (1 - guessed) / len(test[1]))
    if better >= 1:
        told = "no Fréchet distance: %d held-out samples, %.0f %% of one class, are too few to judge a classifier by"
        log.warning(f"{told}; data.heldout holds out more", len(test[1]), 100 * guessed)
        return None
    name = f"{kind}-cnn"
    content = hashlib.md5(usedforsecurity=False)
    for part in (*train[0].split(1024), train[1]):  # some at a time: a copy of all may not fit
        content.update(part.cpu().numpy().tobytes())
    epochs = max(EPOCHS, math.ceil(LEAST_STEPS / math.ceil(len(train[0]) / BATCH)))
    longer = f"-{epochs}" if epochs > EPOCHS else ""
    cache = Path(platformdirs.user_cache_dir("wgan", appauthor=False)) / f"{name}-{content.hexdigest()}{longer}.pt"
    classes = int(train[1].max()) + 1
    with torch.random.fork_rng(
        devices=[device] if device.type == "cuda" else []
    ):  # its own seed; the caller's random state stays as it is
        torch.manual_seed(0)
        network = _network(train[0].shape[1:], classes).to(device)
        if not _read_cache(network, cache):
            _fit(network, *train, epochs)
            _write_cache(network, cache)
    accuracy = (in_batches(network, test[0]).argmax(1) == test[1]).cpu().double().mean().item()
    if accuracy <= better:
        log.warning(
            "no Fréchet distance: a classifier of the %d training samples is right about %.0f %% of the held-out ones, "
            "hardly more than a guess (%.0f %%)",
            *(len(train[0]), 100 * accuracy, 100 * guessed),
        )
        return None
    head = network[-1]
    assert isinstance(head, nn.Linear)
    return Classifier(name, network[:-1], head, accuracy)


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
    for chosen in tracked([part for order in orders for part in order.split(BATCH)], "classifier"):
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
        with creations() as made:
            made.folder(cache.parent)
            write_atomically(cache, content.getvalue())
    except OSError as error:  # the figures are right; only the next evaluation takes longer
        log.warning("%s: the classifier can't be kept (%s)", cache, error.strerror)
