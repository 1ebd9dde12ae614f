"""Datasets: what the real samples are, and an endless stream of their batches on the device.

A dataset spec knows the shape of one sample without reading a file (`shape`), and reads itself into the
device's memory once (`load`). After that a batch costs one gather and one scaling there: no workers, no
transforms per sample, no copy from the host.
"""

import gzip
import hashlib
import math
import os
import shutil
import tempfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
import torch
from pydantic import Field
from torch import Tensor

from wgan_cli.errors import BadInputError
from wgan_cli.files import creations, lock
from wgan_cli.spec import Choice
from wgan_cli.transport import exact_wasserstein, gaussian_w2, wasserstein_1d_normal

WHOLE = slice(None)


class Batches(ABC):
    """An endless stream of whole batches, or the same share of each, (N, *shape) on the device; each is fresh."""

    @abstractmethod
    def draw(self, count: int) -> None:
        """Settles, on the host, which samples the next `count` batches hold."""

    @abstractmethod
    def take(self, number: int) -> Tensor:
        """One of the batches that were drawn, each to be taken once and in turn. Work of the device alone, the same
        each time, so that a CUDA graph can hold it."""

    def next(self) -> Tensor:
        self.draw(1)
        return self.take(0)

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """The place in the stream, in plain containers and tensors."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Dataset(ABC):
    """Real samples resident on a device."""

    @abstractmethod
    def batches(self, batch_size: int, generator: torch.Generator, share: slice = WHOLE) -> Batches:
        """The `share` of batches whose order or values are drawn from `generator` alone, on its device."""

    @abstractmethod
    def real(self, count: int, generator: torch.Generator, *, heldout: bool) -> Tensor:
        """At most `count` different real samples (N, *shape) on the device, chosen by a `generator` on the CPU.

        With `heldout`, samples that training never sees.
        """

    def heldout(self) -> Tensor | None:
        """Some real samples (N, *shape) that training never sees; None where every batch is fresh anyway."""
        return None

    def against_target(self, samples: Tensor) -> dict[str, Tensor]:
        """Distances of `samples` (N, *shape) to the target's own law, where that is known in closed form."""
        return {}

    def labelled(self, *, heldout: bool) -> tuple[Tensor, Tensor] | None:
        """All samples (N, *shape) and their classes (N,), where they have any."""
        return None

    def figures(self, samples: Tensor) -> dict[str, Tensor]:
        """What is cheap enough to log of generated `samples` (N, *shape) at any time: names, and 0-d tensors."""
        return {}

    def truth(self, samples: Tensor) -> dict[str, Tensor]:
        """Distances of generated `samples` (N, *shape) to real ones, computed without any critic."""
        return {}


class DataSpec(Choice, ABC):
    """What every dataset promises."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample: (features,), or (channels, height, width) for images in [-1, 1]."""

    @abstractmethod
    def load(self, device: torch.device) -> Dataset:
        """Read the samples into the device's memory. Raises `WganError` where they can't be had."""

    def fetch(self) -> None:
        """Gets the files from the net where they are missing. Raises `WganError` where that fails."""
        return

    @property
    def size(self) -> int | None:
        """How many samples there are, where that is known before loading; None for an endless source."""
        return None

    @property
    def is_image(self) -> bool:
        return len(self.shape) == 3

    @property
    def targets(self) -> dict[str, float]:
        """What figures of this data would be for a perfect generator, where that is known: names of figures."""
        return {}

    def density(self, x: Tensor) -> Tensor | None:
        """The target's probability density at each value of `x`, where it is known in closed form."""
        return None


class Normal(DataSpec):
    """Independent draws of N(mean, std²), endless and fresh; one sample is `features` draws."""

    kind: Literal["normal"] = "normal"
    mean: float = 0.0
    std: float = Field(default=1.0, gt=0)
    features: int = Field(default=1, ge=1)
    """1 is the true one-dimensional problem; 512 is "512 independent draws as one sample"."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.features,)

    @property
    def targets(self) -> dict[str, float]:
        return {"samples/mean": self.mean, "samples/std": self.std}

    def load(self, device: torch.device) -> Dataset:
        return _NormalDataset(self, device)

    def density(self, x: Tensor) -> Tensor | None:
        return torch.exp(-0.5 * ((x - self.mean) / self.std) ** 2) / (self.std * math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class _NormalDataset(Dataset):
    spec: Normal
    device: torch.device

    def real(self, count: int, generator: torch.Generator, *, heldout: bool) -> Tensor:
        draws = torch.randn(count, self.spec.features, generator=generator)
        return draws.mul_(self.spec.std).add_(self.spec.mean).to(self.device)

    def batches(self, batch_size: int, generator: torch.Generator, share: slice = WHOLE) -> Batches:
        return _NormalBatches(self.spec, batch_size, generator, share)

    def against_target(self, samples: Tensor) -> dict[str, Tensor]:
        """Of all values pooled: exact W1 and W2 to the normal itself, and W2 of the moments alone (closed form)."""
        values = samples.flatten().double().cpu()
        mean, std = self.spec.mean, self.spec.std
        target = torch.tensor([mean], dtype=torch.float64), torch.tensor([[std**2]], dtype=torch.float64)
        return {
            "w1": wasserstein_1d_normal(values, mean, std),
            "w2": wasserstein_1d_normal(values, mean, std, p=2),
            "gaussian_w2": gaussian_w2(values.mean()[None], values.var()[None, None], *target),
        }

    def figures(self, samples: Tensor) -> dict[str, Tensor]:
        values = samples.flatten().cpu()  # a few thousand; MPS has no float64
        truth = wasserstein_1d_normal(values, self.spec.mean, self.spec.std)
        return {"samples/mean": values.mean(), "samples/std": values.std(), "truth/w1": truth}


@dataclass(frozen=True)
class _NormalBatches(Batches):
    """Nothing to remember: the place in the stream is the generator's own state."""

    spec: Normal
    batch_size: int
    generator: torch.Generator
    share: slice

    def draw(self, count: int) -> None:
        return None

    def take(self, number: int) -> Tensor:
        size = (self.batch_size, self.spec.features)
        draws = torch.randn(size, generator=self.generator, device=self.generator.device)[self.share]
        return draws.mul_(self.spec.std).add_(self.spec.mean)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        return None


# Checksums of the gzipped files as torchvision publishes them (`torchvision.datasets.MNIST.resources`; a test
# compares), and of what is inside them. Kept here so that reading files needs no import of torchvision.
_MNIST_MD5 = {
    "train-images-idx3-ubyte": ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": ("d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": ("9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": ("ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
}


class Mnist(DataSpec):
    """The handwritten digits of LeCun et al. (1998): 28 x 28 pixels, one channel, scaled to [-1, 1]."""

    kind: Literal["mnist"] = "mnist"
    root: str | None = None
    """Folder of torchvision's layout (`MNIST/raw/*.gz`, or the files gunzipped). Absent: `$WGAN_DATA`, else the
    user's cache folder. Files that are there are used as they are; missing ones are downloaded."""
    split: Literal["train", "test"] = "train"
    checksums: bool = True
    """false accepts any idx files of the same names and pixel size, such as Fashion-MNIST's."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, 28, 28)

    @property
    def size(self) -> int | None:
        if not self.checksums:
            return None
        return 60_000 if self.split == "train" else 10_000

    @property
    def folder(self) -> Path:
        """Where the four files are, or go."""
        root = self.root or os.environ.get("WGAN_DATA") or platformdirs.user_cache_dir("wgan", appauthor=False)
        return Path(root).expanduser() / "MNIST" / "raw"

    def load(self, device: torch.device) -> Dataset:
        other = self.model_copy(update={"split": "test" if self.split == "train" else "train"})
        images, heldout = (spec._images().to(device) for spec in (self, other))
        labels, heldout_labels = (spec.read("labels").long().to(device) for spec in (self, other))
        return ImageDataset(images, labels, heldout, heldout_labels, where=f"data.split: {self.split}")

    def _images(self) -> Tensor:
        """The split's images (N, 1, 28, 28), uint8 on the CPU."""
        images = self.read("images")
        if images.shape[1:] != self.shape[1:]:
            got = " x ".join(map(str, images.shape[1:]))
            raise BadInputError(f"{self.folder}: images of {got} pixels, where MNIST has 28 x 28")
        return images.unsqueeze(1)

    def read(self, part: Literal["images", "labels"]) -> Tensor:
        """The split's images (N, 28, 28) or labels (N,), uint8 on the CPU, downloaded first where absent."""
        self.fetch()
        name = f"{'train' if self.split == 'train' else 't10k'}-{part}-idx{3 if part == 'images' else 1}-ubyte"
        return _read_idx(self._find(name), _MNIST_MD5[name] if self.checksums else None)

    def _find(self, name: str) -> Path:
        """The gunzipped file, else the gzipped one (which may not exist)."""
        plain = self.folder / name
        return plain if plain.is_file() else self.folder / f"{name}.gz"

    def _missing(self) -> list[str]:
        return [name for name in _MNIST_MD5 if not self._find(name).is_file()]

    def fetch(self) -> None:
        if not self._missing():
            return  # the ordinary case touches nothing, so a read-only folder will do
        try:
            with creations() as made:
                made.folder(self.folder)
                with lock(made.empty_file(self.folder.parent / ".download.lock")):
                    for name in self._missing():  # another process may have fetched them while this one waited
                        _download(f"{name}.gz", self.folder)
        except OSError as error:
            wanted = ", ".join(f"{name}.gz" for name in self._missing())
            raise BadInputError(
                f"{self.folder}: MNIST is not here and could not be downloaded ({error}). Put {wanted} there, "
                "or name the folder above MNIST/raw that has them, by data.root or $WGAN_DATA"
            ) from error


def _download(name: str, folder: Path) -> None:
    """Fetch one file of MNIST through torchvision, checked, and only then give it its name."""
    from torchvision.datasets import MNIST
    from torchvision.datasets.utils import download_url

    faults = []
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
        for mirror in MNIST.mirrors:
            try:
                download_url(f"{mirror}{name}", scratch, name, dict(MNIST.resources)[name])
            except (OSError, RuntimeError) as error:  # URLError is an OSError; a bad checksum a RuntimeError
                faults.append(f"{mirror}: {error}")
            else:
                shutil.move(Path(scratch) / name, folder / name)
                return
    raise OSError("; ".join(faults))


def _read_idx(path: Path, md5: tuple[str, str] | None) -> Tensor:
    """One idx file, gzipped or not (LeCun's format: big-endian sizes, then bytes), checked against `md5`.

    `md5` holds the checksums of the gzipped file and of its content. Returns uint8 of the file's shape.
    """
    is_gzip = path.suffix == ".gz"
    remedy = "delete it to have it downloaded again, or put a good copy there"
    try:
        raw = path.read_bytes()
        if md5 and hashlib.md5(raw, usedforsecurity=False).hexdigest() != md5[0 if is_gzip else 1]:
            raise BadInputError(f"{path}: wrong checksum, so it is truncated or changed: {remedy}")
        content = bytearray(gzip.decompress(raw) if is_gzip else raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInputError(f"{path}: not a whole gzip file ({error}): {remedy}") from error
    except OSError as error:
        raise BadInputError(f"{path}: can't be read ({error.strerror})") from error
    dimensions = content[3] if len(content) >= 4 and content[:3] == b"\x00\x00\x08" else 0
    start = 4 + 4 * dimensions
    sizes = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    if not dimensions or len(content) != start + math.prod(sizes):
        raise BadInputError(f"{path}: not a whole idx file of unsigned bytes: {remedy}")
    return torch.frombuffer(content, dtype=torch.uint8, offset=start).reshape(sizes)


@dataclass(frozen=True)
class ImageDataset(Dataset):
    """Images (N, C, H, W) as uint8 on the device: a quarter of the memory of float32, and of its traffic."""

    images: Tensor
    labels: Tensor
    others: Tensor
    """Images that training never sees."""
    other_labels: Tensor
    where: str

    @cached_property
    def _reference(self) -> tuple[Tensor, Tensor]:
        """Two sets of as many held-out samples, at most 1,000 each, chosen once and for all."""
        count = min(len(self.others) // 2, 1000)
        chosen = self.real(2 * count, torch.Generator().manual_seed(0), heldout=True)
        return chosen[:count], chosen[count:]

    @cached_property
    def _floor(self) -> Tensor:
        """W1 between the two sets: what a perfect generator would have."""
        first, second = self._reference
        return exact_wasserstein(first.flatten(1), second.flatten(1))

    def real(self, count: int, generator: torch.Generator, *, heldout: bool) -> Tensor:
        images = self.others if heldout else self.images
        chosen = torch.randperm(len(images), generator=generator)[:count]
        return scale(images[chosen.to(images.device)])

    def labelled(self, *, heldout: bool) -> tuple[Tensor, Tensor] | None:
        images, labels = (self.others, self.other_labels) if heldout else (self.images, self.labels)
        return scale(images), labels

    def heldout(self) -> Tensor | None:
        return self._reference[0]

    def truth(self, samples: Tensor) -> dict[str, Tensor]:
        """Exact W1 in the critic's own unit (Euclidean, pixels in [-1, 1]), and its floor: real against real."""
        first, _ = self._reference
        distance = exact_wasserstein(samples[: len(first)].flatten(1), first.flatten(1))
        return {"truth/w1": distance, "truth/w1_floor": self._floor}

    def batches(self, batch_size: int, generator: torch.Generator, share: slice = WHOLE) -> Batches:
        if batch_size > len(self.images):
            raise BadInputError(
                f"training.batch_size: {batch_size} is larger than the {len(self.images)} samples of {self.where}"
            )
        return _ImageBatches(self.images, batch_size, generator, share)


class _ImageBatches(Batches):
    """Passes over the images, each in a fresh order; the few left over at a pass's end are dropped."""

    def __init__(self, images: Tensor, batch_size: int, generator: torch.Generator, share: slice) -> None:
        self.images, self.batch_size, self.generator, self.share = images, batch_size, generator, share
        self._drawn = torch.empty(0, 0, dtype=torch.long, device=images.device)
        self._begin_pass()

    def _begin_pass(self) -> None:
        self._pass_state = self.generator.get_state()  # enough to draw this pass's order again
        self._order = torch.randperm(len(self.images), generator=self.generator, device=self.images.device)
        self._position = 0

    def draw(self, count: int) -> None:
        size = len(range(*self.share.indices(self.batch_size)))
        if self._drawn.shape != (count, size):
            self._drawn = self._order.new_empty(count, size)
        for batch in self._drawn:  # in place: a CUDA graph reads from here
            if self._position + self.batch_size > len(self._order):
                self._begin_pass()
            batch.copy_(self._order[self._position : self._position + self.batch_size][self.share])
            self._position += self.batch_size

    def take(self, number: int) -> Tensor:
        return scale(self.images[self._drawn[number]])

    def state_dict(self) -> dict[str, Any]:
        return {"pass": self._pass_state, "position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.generator.set_state(state["pass"].cpu())
        self._begin_pass()
        self._position = state["position"]


def scale(images: Tensor) -> Tensor:
    """uint8 in 0..255 to torch's default type, float32 unless told otherwise, in [-1, 1]."""
    return images.to(torch.get_default_dtype()).mul_(2 / 255).sub_(1)


Data = Annotated[Normal | Mnist, Field(discriminator="kind")]
