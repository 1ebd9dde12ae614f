"""The Fréchet distance of a run's samples to held-out images, while it trains."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from wgan_cli.conditions import generator_inputs
from wgan_cli.data import Dataset
from wgan_cli.figure_names import FLOOR
from wgan_cli.measures.classifier import MOST_CLASSES, trained_classifier
from wgan_cli.measures.fidelity import frechet
from wgan_cli.networks.base import in_batches
from wgan_cli.training.trainer import Trainer


class Fidelity:
    """Compares samples of the seeds 0, 1, 2, ... with all held-out images, by a classifier of the data's own labels.

    There is no figure for data without labels, nor for so many images that gathering them for the classifier could
    take the memory of training. The classifier is trained when it is first needed, and kept in the user's cache.
    """

    SAMPLES = 4096
    MOST_BYTES = 1 << 30

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, data = trainer, trainer.config.data
        size = 4 * (trainer.dataset.size or 0) * math.prod(data.sample_shape)
        self._is_able = data.is_image and 2 <= len(data.class_names) <= MOST_CLASSES and size <= self.MOST_BYTES

    @cached_property
    def _target(self) -> "_Target | None":
        return _Target.of(self._trainer.dataset, self._trainer.config.data.kind, self._trainer.device)

    @cached_property
    def _inputs(self) -> Tensor:
        inputs = generator_inputs(self._trainer.config.latent, self._trainer.conditions, range(self.SAMPLES))
        return inputs.to(self._trainer.device)

    def figures(self) -> dict[str, float]:
        """The distance and its floor at the current iteration. Raises `WganError` if it is not finite."""
        if not self._is_able or self._target is None:
            return {}
        sampler = self._trainer.networks.sampler
        features = [
            in_batches(self._target.features, in_batches(sampler, part)) for part in self._inputs.split(256)
        ]  # images one batch at a time: all of them may be large
        distance = frechet(torch.cat(features), self._target.heldout)
        if not math.isfinite(distance):
            raise self._trainer.diverged(f"{self._target.name} is {distance}")
        return {self._target.name: distance, self._target.name + FLOOR: self._target.floor}


@dataclass(frozen=True)
class _Target:
    """What the features of generated images are compared with."""

    name: str
    """Of the figure."""
    features: nn.Module
    """Of the classifier: images (N, C, H, W) to (N, width)."""
    heldout: Tensor
    """The features (N, width) of all held-out images."""
    floor: float
    """The figure of as many training images."""

    @classmethod
    def of(cls, dataset: Dataset, kind: str, device: torch.device) -> "_Target | None":
        """The target for these images; None if they have no labels, or none that are held out."""
        classifier = trained_classifier(dataset, kind, device)
        test = dataset.labelled(heldout=True)
        if classifier is None or test is None:
            return None
        heldout = in_batches(classifier.features, test[0])
        train = dataset.real(Fidelity.SAMPLES, torch.Generator().manual_seed(0), heldout=False)
        floor = frechet(in_batches(classifier.features, train), heldout)
        return cls(f"frechet/{classifier.name}", classifier.features, heldout, floor)
