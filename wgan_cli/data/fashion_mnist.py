"""Fashion-MNIST."""

from typing import ClassVar, Literal

from wgan_cli.data.idx import Checksum
from wgan_cli.data.mnist import MnistFiles


class FashionMnist(MnistFiles):
    """Articles of clothing in ten classes (Xiao, Rasul and Vollgraf, 2017)."""

    kind: Literal["fashion_mnist"] = "fashion_mnist"
    title = "FashionMNIST"
    classes = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")
    checksums: ClassVar = {
        "train-images-idx3-ubyte": Checksum("8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        "train-labels-idx1-ubyte": Checksum("25c81989df183df01b3e8a0aad5dffbe"),
        "t10k-images-idx3-ubyte": Checksum("bef4ecab320f06d8554ea6380940ec79"),
        "t10k-labels-idx1-ubyte": Checksum("bb300cfdad3c16e7a12a480ee83cd310"),
    }
