"""Datasets: the real samples, and an endless stream of their batches on the device.

A dataset spec gives the shape of one sample without reading a file. `load` reads all samples into the device's memory
once. After that, a batch costs one gather and one scaling on the device: no worker processes, no transforms per sample,
no copy from the host. A new kind of data is one file and its name in the union below.
"""

from typing import Annotated, get_args

from pydantic import Field

from wgan_cli.data.arrays import Arrays
from wgan_cli.data.base import Batches, Dataset, DataSpec
from wgan_cli.data.cifar10 import Cifar10
from wgan_cli.data.fashion_mnist import FashionMnist
from wgan_cli.data.images import Images
from wgan_cli.data.kmnist import Kmnist
from wgan_cli.data.mnist import Mnist
from wgan_cli.data.normal import Normal
from wgan_cli.data.points import Points
from wgan_cli.data.stacked_mnist import StackedMnist

Data = Annotated[
    Normal | Points | Arrays | Images | Mnist | FashionMnist | Kmnist | Cifar10 | StackedMnist,
    Field(discriminator="kind"),
]

KINDS: tuple[type[DataSpec], ...] = get_args(get_args(Data)[0])


def split_names() -> list[str]:
    """The names `KIND:SPLIT` that `find_split` accepts."""
    return [f"{spec.model_fields['kind'].default}:{split}" for spec in KINDS for split in spec.splits]


def find_split(name: str) -> DataSpec | None:
    """The dataset called `name`, such as `mnist:test`; None if there is none of that name."""
    kind, _, split = name.partition(":")
    if name not in split_names():
        return None
    (spec,) = (each for each in KINDS if each.model_fields["kind"].default == kind)
    return spec.model_validate({"split": split})


__all__ = ["KINDS", "Batches", "Data", "DataSpec", "Dataset", "find_split", "split_names"]
