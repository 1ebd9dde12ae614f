"""The interface of a network, and what generators and critics of every kind share."""

import math
from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from wgan_cli.networks.latent import Latent
from wgan_cli.spec import Choice

Shape = tuple[int, ...]
"""The shape of one sample."""
Norm = Literal["none", "batch", "layer", "group", "instance"]
Init = Literal["torch", "dcgan", "xavier", "he"]


class NetworkSpec(Choice):
    """What generators and critics share.

    Three properties name the key that gives a network a certain trait, and are None where it lacks the trait. They
    are truth values too: `if config.critic.mixes_samples`.
    """

    norm: Norm = "none"
    """`batch` mixes the samples of a batch, so a critic under a per-sample penalty can't have it. The others take
    each sample by itself: `layer` all of its channels together (as in Gulrajani et al., 2017), `group` 16 channels
    (Wu and He, 2018; fewer where 16 does not divide), `instance` each channel alone."""
    init: Init = "torch"
    """`torch`: PyTorch's own; `dcgan`: N(0, 0.02²) (Radford et al., 2016); `xavier`: Glorot uniform; `he`: He
    uniform, for ReLU (He et al., 2015). All but `torch` begin with biases of zero."""

    def check_shape(self, shape: Shape) -> None:
        """Raises ValueError, with a remedy, if no network of this kind fits samples of this `shape`."""
        return

    @property
    def mixes_samples(self) -> str | None:
        """The key that makes a sample's output depend on the other samples of its batch."""
        return "norm" if self.norm == "batch" else None

    @property
    def keeps_state(self) -> str | None:
        """The key that gives the network buffers which a forward pass updates."""
        return "norm" if self.norm == "batch" else None

    @property
    def draws_randomness(self) -> str | None:
        """The key that makes a forward pass in training mode draw random numbers."""
        return None

    @property
    def steepens(self) -> str | None:
        """The key that keeps a critic whose linear layers, on patches if it has convolutions, have slope at most 1 from
        having it too."""
        return "kind"

    def _initialise(self, network: nn.Module) -> nn.Module:
        for module in network.modules():
            if self.init == "torch" or not isinstance(module, nn.Linear | _ConvNd):
                continue
            if self.init == "dcgan":
                nn.init.normal_(module.weight, std=0.02)
            elif self.init == "xavier":
                nn.init.xavier_uniform_(module.weight)
            else:
                bound = math.sqrt(6 / _fan_in(module))
                nn.init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        return network


def _fan_in(module: nn.Linear | _ConvNd) -> float:
    """How many inputs each output of a layer sums. Torch's own count is wrong for transposed convolutions."""
    if isinstance(module, nn.Linear):
        return module.in_features
    taps = math.prod(module.kernel_size) / (math.prod(module.stride) if module.transposed else 1)
    return module.in_channels * taps


class GeneratorSpec(NetworkSpec):
    @abstractmethod
    def build(self, latent: Latent, shape: Shape, *, bounded: bool) -> nn.Module:
        """A new generator: (N, latent.dim) to (N, *shape), in [-1, 1] if `bounded`."""


class CriticSpec(NetworkSpec):
    @property
    def slope_one(self) -> bool:
        """Whether critics of this kind have slope at most 1 by construction, whatever their weights."""
        return False

    @abstractmethod
    def build(self, shape: Shape) -> nn.Module:
        """A new critic: (N, *shape) to (N,)."""

    def begin_between(self, critic: nn.Module, real: Tensor, fake: Tensor, stream: torch.Generator) -> None:
        """Prepares a new critic, a result of `build`, for training between these fixed samples (N, *shape)."""
        return


@torch.no_grad()
def in_batches(network: nn.Module, inputs: Tensor, batch_size: int = 256) -> Tensor:
    """The outputs of `network` for `inputs` (N, ...), in evaluation mode (no dropout, running norms), in batches."""
    was_training = network.training
    network.eval()
    try:
        return torch.cat([network(part) for part in inputs.split(batch_size)])
    finally:
        network.train(was_training)


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
