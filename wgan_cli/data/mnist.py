"""MNIST, and the format of its four files, which other datasets share."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import platformdirs
import torch
from pydantic import model_validator
from torch import Tensor

from wgan_cli.data.base import Dataset, DataSpec
from wgan_cli.data.download import fetch_files
from wgan_cli.data.finite import FiniteDataset, Store
from wgan_cli.data.idx import Checksum, read_idx
from wgan_cli.data.pixels import scale
from wgan_cli.errors import BadInputError
from wgan_cli.paths import expanded


class MnistFiles(DataSpec):
    """Images of 28 x 28 pixels with one channel, scaled to [-1, 1], in four files of MNIST's names and format."""

    root: str | None = None
    """The folder that contains the dataset's own folder, such as `MNIST/raw` (torchvision's layout; files gzipped or
    not). The default is `$WGAN_DATA`, or else the user's cache folder. Existing files are used as they are; missing
    ones are downloaded."""
    split: Literal["train", "test"] = "train"
    """Which images train; those of the other split are held out."""

    splits = ("train", "test")
    location_keys = frozenset({"root"})
    title: ClassVar[str]
    """The name of the dataset's folder, and of the torchvision class that lists its mirrors."""
    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")
    """As torchvision numbers them."""
    checksums: ClassVar[Mapping[str, Checksum]]
    """Checksums by the name of the gunzipped file. Copied from torchvision, because importing it slows every start."""

    @model_validator(mode="before")
    @classmethod
    def _accept_configs_of_version_0_1(cls, fields: Any) -> Any:
        """Removes `checksums: true`, which configs of version 0.1 hold: files are always checked now."""
        if isinstance(fields, dict) and fields.get("checksums") is True:
            return {key: value for key, value in fields.items() if key != "checksums"}
        return fields

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (1, 28, 28)

    @property
    def is_image(self) -> bool:
        return True

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes

    @property
    def sample_count(self) -> int | None:
        return 60_000 if self.split == "train" else 10_000

    @property
    def folder(self) -> Path:
        """The folder of the four files."""
        root = self.root or os.environ.get("WGAN_DATA") or platformdirs.user_cache_dir("wgan", appauthor=False)
        return expanded(root) / self.title / "raw"

    def load(self, device: torch.device) -> Dataset:
        other = self.model_copy(update={"split": "test" if self.split == "train" else "train"})
        images, heldout = (spec.images().to(device) for spec in (self, other))
        labels, heldout_labels = (spec.labels().to(device) for spec in (self, other))
        where = f"data.split: {self.split}"
        return FiniteDataset(Store.of(images), where, Store.of(heldout), labels, heldout_labels)

    def samples(self) -> Tensor:
        return scale(self.images())

    def images(self) -> Tensor:
        """The images (N, 1, 28, 28) of the split, uint8 on the CPU."""
        images = self._read("images")
        if images.shape[1:] != self.sample_shape[1:]:
            got = " x ".join(map(str, images.shape[1:]))
            raise BadInputError(f"{self.folder}: images of {got} pixels, where {self.title} has 28 x 28")
        return images.unsqueeze(1)

    def labels(self) -> Tensor:
        """The classes (N,) of the split, on the CPU."""
        return self._read("labels").long()

    def _read(self, part: Literal["images", "labels"]) -> Tensor:
        """The images (N, 28, 28) or labels (N,) of the split, uint8 on the CPU, downloaded first if missing."""
        self.fetch()
        name = f"{'train' if self.split == 'train' else 't10k'}-{part}-idx{3 if part == 'images' else 1}-ubyte"
        return read_idx(self._find(name), self.checksums[name])

    def _find(self, name: str) -> Path:
        """The path of the file: gunzipped if that can be checked or is alone, else gzipped (which may not exist)."""
        plain, zipped = self.folder / name, self.folder / f"{name}.gz"
        return plain if plain.is_file() and (self.checksums[name].content or not zipped.is_file()) else zipped

    def _missing(self) -> list[str]:
        return [f"{name}.gz" for name in self.checksums if not self._find(name).is_file()]

    def fetch(self) -> None:
        if not self._missing():
            return  # no lock, so that a read-only folder with all files works
        import torchvision

        published = getattr(torchvision.datasets, self.title)
        try:
            fetch_files(self.folder, self._missing, published.mirrors, dict(published.resources))
        except OSError as error:
            wanted = ", ".join(self._missing())
            raise BadInputError(
                f"{self.folder}: {self.title} is not here and could not be downloaded ({error}). Put {wanted} there, "
                f"or name the folder above {self.title}/raw that has them, by data.root or $WGAN_DATA"
            ) from error


class Mnist(MnistFiles):
    """The handwritten digits of LeCun et al. (1998)."""

    kind: Literal["mnist"] = "mnist"
    title = "MNIST"
    checksums: ClassVar = {
        "train-images-idx3-ubyte": Checksum("f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
        "train-labels-idx1-ubyte": Checksum("d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
        "t10k-images-idx3-ubyte": Checksum("9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
        "t10k-labels-idx1-ubyte": Checksum("ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
    }
