"""Networks: generators map latents (N, dim) to samples (N, *shape), critics map samples to scores (N,).

A critic's score is unbounded: no sigmoid. A generator of images ends in tanh, as images live in [-1, 1];
one of plain features ends in its last linear layer.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from wgan_cli.spec import Choice, Spec


class Latent(Spec):
    """The generator's noise input: `dim` independent numbers a sample."""

    dim: int = Field(ge=1)
    kind: Literal["normal", "uniform"] = "normal"
    """`normal` is N(0, 1), `uniform` is U(-1, 1)."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` fresh latents (count, dim) on the generator's device."""
        size = (count, self.dim)
        if self.kind == "normal":
            return torch.randn(size, generator=generator, device=generator.device)
        return torch.rand(size, generator=generator, device=generator.device).mul_(2).sub_(1)

    def from_seeds(self, seeds: Iterable[int]) -> Tensor:
        """One latent a seed (len(seeds), dim) on the CPU: the same for a seed on every device, whatever is
        drawn beside it."""
        generator = torch.Generator()
        return torch.cat([self.draw(1, generator.manual_seed(seed)) for seed in seeds])


class _Kinked(torch.autograd.Function):
    """max(x, slope · x) in place, whose second derivative is none rather than a tensor of zeros.

    torch's own sends zeros through the whole pass before it when a penalty is differentiated twice: for a critic of
    convolutions, a sixth of the work of a step.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        ctx.slope = slope
        ctx.mark_dirty(x)
        ctx.save_for_backward(torch.nn.functional.leaky_relu_(x, slope))
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (result,) = ctx.saved_tensors  # has the sign of what it came from
        return torch.ops.aten.leaky_relu_backward(gradients[0], result.detach(), ctx.slope, True), None


class LeakyReLU(nn.Module):
    """max(x, slope · x), in place; ReLU where the slope is 0."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return _Kinked.apply(x, self.slope)
        return torch.nn.functional.leaky_relu_(x, self.slope)


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: LeakyReLU(0.0),
    "leaky_relu": lambda: LeakyReLU(0.2),
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
}
Activation = Literal["relu", "leaky_relu", "tanh", "silu", "elu", "softplus"]
Norm = Literal["none", "batch", "layer"]
Init = Literal["torch", "dcgan", "xavier"]
Shape = tuple[int, ...]


class ModelSpec(Choice, ABC):
    """What both networks share."""

    norm: Norm = "none"
    """`batch` mixes the samples of a batch, so a critic under a per-sample penalty can't have it."""
    init: Init = "torch"
    """`torch`: PyTorch's own; `dcgan`: N(0, 0.02²) (Radford et al., 2016); `xavier`: Glorot uniform."""

    def check_shape(self, shape: Shape) -> None:
        """Raises ValueError, with a remedy, where no network of this kind fits samples of this `shape`."""
        return

    @property
    def peculiar_key(self) -> str | None:
        """The key of what neither ranks nor a compiled step compute as one plain step does: batch norm looks at all
        samples and keeps a state, dropout draws numbers of its own. None where there is neither."""
        return "norm" if self.norm == "batch" else None

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


class GeneratorSpec(ModelSpec):
    @abstractmethod
    def build(self, latent: Latent, shape: Shape) -> nn.Module:
        """A fresh generator: (N, latent.dim) to (N, *shape)."""


class CriticSpec(ModelSpec):
    @abstractmethod
    def build(self, shape: Shape) -> nn.Module:
        """A fresh critic: (N, *shape) to (N,)."""


class _MlpFields(ModelSpec):
    """Fully connected layers; samples of any shape are flattened."""

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (128, 128)
    activation: Activation = "leaky_relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @property
    def peculiar_key(self) -> str | None:
        return super().peculiar_key or ("dropout" if self.dropout else None)

    def _hidden_layers(self, inputs: int) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise((inputs, *self.hidden)):
            layers.append(nn.Linear(fan_in, fan_out))
            if self.norm == "batch":
                layers.append(nn.BatchNorm1d(fan_out))
            elif self.norm == "layer":
                layers.append(nn.LayerNorm(fan_out))
            layers.append(_ACTIVATIONS[self.activation]())
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
        return layers


class MlpGenerator(_MlpFields, GeneratorSpec):
    def build(self, latent: Latent, shape: Shape) -> nn.Module:
        layers = self._hidden_layers(latent.dim)
        layers.append(nn.Linear((latent.dim, *self.hidden)[-1], math.prod(shape)))
        if len(shape) == 3:
            layers.append(nn.Tanh())
        return self._initialise(nn.Sequential(*layers, nn.Unflatten(1, shape)))


class MlpCritic(_MlpFields, CriticSpec):
    def build(self, shape: Shape) -> nn.Module:
        inputs = math.prod(shape)
        head = nn.Linear((inputs, *self.hidden)[-1], 1)
        layers = [nn.Flatten(), *self._hidden_layers(inputs), head, nn.Flatten(0)]
        return self._initialise(nn.Sequential(*layers))


class _ConvFields(ModelSpec):
    """Convolutions for images whose sides divide by 4, with any number of channels."""

    kind: Literal["conv"] = "conv"
    activation: Activation = "leaky_relu"

    def check_shape(self, shape: Shape) -> None:
        if len(shape) != 3:
            raise ValueError(f"conv needs images, but a sample here is {shape[0]} plain values; use mlp")
        if shape[1] % 4 or shape[2] % 4:
            raise ValueError(f"conv needs sides that divide by 4, but images are {shape[1]} x {shape[2]}; use mlp")


class ConvGenerator(_ConvFields, GeneratorSpec):
    """Linear to a quarter of the side, two stride-2 transposed convolutions, a 3 x 3 convolution, tanh."""

    width: int = Field(default=128, ge=4, multiple_of=4)
    """Channels at a quarter of the side; half of them at half the side, a quarter at full size."""
    norm: Literal["none", "batch"] = "none"

    def build(self, latent: Latent, shape: Shape) -> nn.Module:
        self.check_shape(shape)
        channels, height, width = shape
        small = (self.width, height // 4, width // 4)
        layers = [
            nn.Linear(latent.dim, math.prod(small)),
            nn.Unflatten(1, small),
            *self._after(self.width),
            nn.ConvTranspose2d(self.width, self.width // 2, 4, stride=2, padding=1),
            *self._after(self.width // 2),
            nn.ConvTranspose2d(self.width // 2, self.width // 4, 4, stride=2, padding=1),
            *self._after(self.width // 4),
            nn.Conv2d(self.width // 4, channels, 3, padding=1),
            nn.Tanh(),
        ]
        return self._initialise(nn.Sequential(*layers))

    def _after(self, channels: int) -> list[nn.Module]:
        norm: list[nn.Module] = [nn.BatchNorm2d(channels)] if self.norm == "batch" else []
        return [*norm, _ACTIVATIONS[self.activation]()]


class ConvCritic(_ConvFields, CriticSpec):
    """Two stride-2 convolutions and a linear layer; no norm, as the penalty is a matter of one sample."""

    width: int = Field(default=64, ge=1)
    """Channels at half the side; twice as many at a quarter of it."""
    norm: Literal["none"] = "none"

    def build(self, shape: Shape) -> nn.Module:
        self.check_shape(shape)
        channels, height, width = shape
        layers = [
            nn.Conv2d(channels, self.width, 4, stride=2, padding=1),
            _ACTIVATIONS[self.activation](),
            nn.Conv2d(self.width, 2 * self.width, 4, stride=2, padding=1),
            _ACTIVATIONS[self.activation](),
            nn.Flatten(),
            nn.Linear(2 * self.width * (height // 4) * (width // 4), 1),
            nn.Flatten(0),
        ]
        return self._initialise(nn.Sequential(*layers))


Generator = Annotated[MlpGenerator | ConvGenerator, Field(discriminator="kind")]
Critic = Annotated[MlpCritic | ConvCritic, Field(discriminator="kind")]


@torch.no_grad()
def generate(generator: nn.Module, latents: Tensor, batch_size: int = 256) -> Tensor:
    """Samples (N, *shape) for latents (N, dim), in evaluation mode (no dropout, running norms), batch by batch."""
    was_training = generator.training
    generator.eval()
    try:
        return torch.cat([generator(part) for part in latents.split(batch_size)])
    finally:
        generator.train(was_training)


def averaged(generator: nn.Module, decay: float) -> AveragedModel:
    """A running average of the generator's weights, for `update_parameters` after each of its steps.

    The decay after n updates is min(decay, (1 + n) / (10 + n)): a fixed decay near 1 would still remember the
    first, untrained weights after a thousand updates, and its samples would lag far behind.
    """

    @torch.no_grad()
    def update(averages: Sequence[Tensor], weights: Sequence[Tensor], _: Tensor | int) -> None:
        count = int(model.n_averaged)  # this one is kept on the CPU: no wait for the device
        torch._foreach_lerp_(list(averages), list(weights), max(9 / (10 + count), 1 - decay))

    model = AveragedModel(generator, multi_avg_fn=update)
    return model.requires_grad_(False).eval()


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
