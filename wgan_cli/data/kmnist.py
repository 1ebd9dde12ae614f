"""Kuzushiji-MNIST."""

from typing import ClassVar, Literal

from wgan_cli.data.idx import Checksum
from wgan_cli.data.mnist import MnistFiles


class Kmnist(MnistFiles):
    """Cursive Japanese characters in ten classes (Clanuwat et al., 2018)."""

    kind: Literal["kmnist"] = "kmnist"
    title = "KMNIST"
    classes = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    checksums: ClassVar = {
        "train-images-idx3-ubyte": Checksum("bdb82020997e1d708af4cf47b453dcf7"),
        "train-labels-idx1-ubyte": Checksum("e144d726b3acfaa3e44228e80efcd344"),
        "t10k-images-idx3-ubyte": Checksum("5c965bf0a639b31b8f53240b1b52f4d7"),
        "t10k-labels-idx1-ubyte": Checksum("7320c461ea6c1c855c0b718fb2a4b134"),
    }
