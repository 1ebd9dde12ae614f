"""CIFAR-10: colour images in ten classes, from torchvision's files."""

import hashlib
import os
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import platformdirs
import torch
from torch import Tensor

from wgan_cli.data.base import Dataset, DataSpec
from wgan_cli.data.download import fetch_files
from wgan_cli.data.finite import FiniteDataset, Store
from wgan_cli.data.pixels import scale
from wgan_cli.errors import BadInputError
from wgan_cli.paths import expanded

TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))


class Cifar10(DataSpec):
    """Images (3, 32, 32) in [-1, 1], 50,000 to train on and 10,000 held out (Krizhevsky, 2009)."""

    kind: Literal["cifar10"] = "cifar10"
    root: str | None = None
    """Folder of `cifar-10-batches-py` or `cifar-10-python.tar.gz`. Absent: `$WGAN_DATA`, else the user's cache folder,
    where the archive is downloaded to."""
    split: Literal["train", "test"] = "train"
    """Which images train; those of the other split are held out."""

    splits = ("train", "test")
    location_keys = frozenset({"root"})
    archive_md5: ClassVar[str] = "c58f30108f718f92721af3b95e74349a"
    checksums: ClassVar[dict[str, str]] = {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    }
    """MD5 of each batch, as torchvision has it: checked before anything is unpickled."""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (3, 32, 32)

    @property
    def is_image(self) -> bool:
        return True

    @property
    def class_names(self) -> tuple[str, ...]:
        return ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    @property
    def sample_count(self) -> int | None:
        return 50_000 if self.split == "train" else 10_000

    @property
    def folder(self) -> Path:
        root = self.root or os.environ.get("WGAN_DATA") or platformdirs.user_cache_dir("wgan", appauthor=False)
        return expanded(root)

    @property
    def _archive(self) -> Path:
        return self.folder / "cifar-10-python.tar.gz"

    def fetch(self) -> None:
        batches = self.folder / "cifar-10-batches-py"
        if self._archive.is_file() or all((batches / name).is_file() for name in self.checksums):
            return
        from torchvision.datasets import CIFAR10

        mirror, _, name = CIFAR10.url.rpartition("/")

        def missing() -> list[str]:
            return [] if self._archive.is_file() else [name]

        try:
            fetch_files(self.folder, missing, [f"{mirror}/"], {name: self.archive_md5})
        except OSError as error:
            raise BadInputError(
                f"{self.folder}: CIFAR-10 is not here and could not be downloaded ({error}). Put {name} there, or name "
                "the folder that has it by data.root or $WGAN_DATA"
            ) from error

    def load(self, device: torch.device) -> Dataset:
        sides = [self._read(TRAIN), self._read(("test_batch",))]
        (images, labels), (others, other_labels) = sides if self.split == "train" else sides[::-1]
        where = f"data.split: {self.split}"
        stores = Store.of(images.to(device)), Store.of(others.to(device))
        return FiniteDataset(stores[0], where, stores[1], labels.to(device), other_labels.to(device))

    def samples(self) -> Tensor:
        return scale(self._read(TRAIN if self.split == "train" else ("test_batch",))[0])

    def _read(self, names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        """Images (N, 3, 32, 32), uint8, and labels (N,) of some batches, on the CPU."""
        self.fetch()
        batches = [pickle.loads(content, encoding="bytes") for content in self._contents(names)]
        images = np.concatenate([batch[b"data"] for batch in batches]).reshape(-1, 3, 32, 32)
        labels = np.concatenate([batch[b"labels"] for batch in batches])
        return torch.from_numpy(images), torch.from_numpy(labels).long()

    def _contents(self, names: tuple[str, ...]) -> list[bytes]:
        """The bytes of each batch, checked, from the folder or else from the archive."""
        folder = self.folder / "cifar-10-batches-py"
        try:
            if all((folder / name).is_file() for name in names):
                contents = {folder / name: (folder / name).read_bytes() for name in names}
            else:
                with tarfile.open(self._archive) as archive:
                    contents = {self._archive / name: _member(archive, name) for name in names}
        except (OSError, KeyError, EOFError, zlib.error, tarfile.TarError) as error:
            reason = " ".join(str(error).partition("\n")[0].split()).removesuffix(":")
            raise BadInputError(f"{self._archive}: damaged ({reason}); delete it to download it again") from error
        for path, content in contents.items():
            if hashlib.md5(content, usedforsecurity=False).hexdigest() != self.checksums[path.name]:
                raise BadInputError(f"{path}: wrong checksum, so it is truncated or changed; put a good copy there")
        return list(contents.values())


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    """The content of one batch. Raises `KeyError` where it is missing, or is no file."""
    file = archive.extractfile(f"cifar-10-batches-py/{name}")
    if file is None:
        raise KeyError(f"{name} is no file in it")
    return file.read()
