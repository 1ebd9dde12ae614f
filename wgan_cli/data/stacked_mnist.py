"""Stacked MNIST: three digits as the channels of one image, which makes 1,000 modes."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from wgan_cli.data.base import Dataset, DataSpec
from wgan_cli.data.finite import FiniteDataset, Store
from wgan_cli.data.mnist import Mnist
from wgan_cli.data.pixels import scale


class StackedMnist(DataSpec):
    """Three digits of MNIST, drawn independently, as channels of one image (3, 28, 28) in [-1, 1].

    The protocol of PacGAN (Lin et al., 2018): 128,000 triples of training digits; held out are triples of the test
    split's digits. The class of a triple (a, b, c) is 100 a + 10 b + c.
    """

    kind: Literal["stacked_mnist"] = "stacked_mnist"
    root: str | None = None
    """As for `mnist`, whose files it uses."""
    triples: int = Field(default=128_000, ge=4, le=100_000_000)
    """The number of training samples, each of three digits."""

    location_keys = frozenset({"root"})
    HELDOUT: ClassVar[int] = 26_000

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (3, 28, 28)

    @property
    def is_image(self) -> bool:
        return True

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(f"{number:03d}" for number in range(1000))

    @property
    def channel_data(self) -> DataSpec:
        return Mnist(root=self.root)

    @property
    def sample_count(self) -> int | None:
        return self.triples

    def fetch(self) -> None:
        Mnist(root=self.root).fetch()

    def load(self, device: torch.device) -> Dataset:
        sides = []
        for split, count, seed in (("train", self.triples, 0), ("test", self.HELDOUT, 1)):
            digits = Mnist.model_validate({"root": self.root, "split": split})
            images, labels = digits.images().squeeze(1).to(device), digits.labels().to(device)
            generator = torch.Generator().manual_seed(seed)
            chosen = torch.randint(len(images), (count, 3), generator=generator).to(device)
            classes = (labels[chosen] * torch.tensor([100, 10, 1], device=device)).sum(1)
            sides.append((self._store(images, chosen), classes))
        (store, classes), (others, other_classes) = sides
        return FiniteDataset(store, "data.triples", others, classes, other_classes)

    @staticmethod
    def _store(images: Tensor, chosen: Tensor) -> Store:
        """Triples of digits (N, 28, 28) by their indices (count, 3): only the digits and indices take memory."""
        return Store(lambda numbers: scale(images[chosen[numbers]]), len(chosen), images.device)
