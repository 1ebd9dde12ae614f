"""The interfaces of generators and critics, and functions for all networks."""

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from wgan_cli.networks.latent import Latent
from wgan_cli.spec import Choice

Shape = tuple[int, ...]
"""The shape of one sample."""
Norm = Literal["none", "batch", "layer"]
Init = Literal["torch", "dcgan", "xavier"]


class NetworkSpec(Choice):
    """The fields and capabilities that generators and critics share.

    Three properties describe what a network does in a forward pass. Each returns the key that causes this, or None if
    the network does not do it. So they are also conditions: `if config.critic.mixes_samples`.
    """

    norm: Norm = "none"
    """`batch` mixes the samples of a batch, so a critic under a per-sample penalty can't have it."""
    init: Init = "torch"
    """`torch`: PyTorch's default; `dcgan`: N(0, 0.02²) (Radford et al., 2016); `xavier`: Glorot uniform."""

    def check_shape(self, shape: Shape) -> None:
        """Raises ValueError, with a remedy, if no network of this kind fits samples of this `shape`."""
        return

    @property
    def mixes_samples(self) -> str | None:
        """The key that makes the output of a sample depend on the other samples of its batch."""
        return "norm" if self.norm == "batch" else None

    @property
    def keeps_state(self) -> str | None:
        """The key that gives the network buffers that a forward pass updates."""
        return "norm" if self.norm == "batch" else None

    @property
    def draws_randomness(self) -> str | None:
        """The key that makes a forward pass in training mode draw random numbers."""
        return None

    def _initialise(self, network: nn.Module) -> nn.Module:
        for module in network.modules():
            if self.init == "torch" or not isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                continue
            if self.init == "dcgan":
                nn.init.normal_(module.weight, std=0.02)
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        return network


class GeneratorSpec(NetworkSpec):
    """The interface of a generator."""

    @abstractmethod
    def build(self, latent: Latent, shape: Shape) -> nn.Module:
        """A new generator: (N, latent.dim) to (N, *shape)."""


class CriticSpec(NetworkSpec):
    """The interface of a critic."""

    @abstractmethod
    def build(self, shape: Shape) -> nn.Module:
        """A new critic: (N, *shape) to (N,)."""


@torch.no_grad()
def in_batches(network: nn.Module, inputs: Tensor, batch_size: int = 256) -> Tensor:
    """The outputs of `network` for `inputs` (N, ...), computed in batches and in evaluation mode."""
    was_training = network.training
    network.eval()
    try:
        return torch.cat([network(part) for part in inputs.split(batch_size)])
    finally:
        network.train(was_training)


def parameter_count(network: nn.Module) -> int:
    """The number of values in all parameters of `network`."""
    return sum(parameter.numel() for parameter in network.parameters())
