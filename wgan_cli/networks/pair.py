"""Generator, critic and averaged generator as one object, which builds, moves, saves and loads them."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from wgan_cli.lipschitz import LipschitzSpec
from wgan_cli.networks.average import Average
from wgan_cli.networks.base import CriticSpec, GeneratorSpec, Shape
from wgan_cli.networks.latent import Latent

BuildCritic = Callable[[CriticSpec, Shape, int], nn.Module]
"""Of a critic, the shape of a sample and the width of its condition: a critic of samples with conditions."""


def build_critic(spec: CriticSpec, lipschitz: LipschitzSpec, shape: Shape) -> nn.Module:
    """A new critic of samples of this `shape`, with its strategy attached."""
    return lipschitz.attach(spec.build(shape))


def pairing_fault(critic: CriticSpec, lipschitz: LipschitzSpec) -> tuple[str, str] | None:
    """The key of a critic that its strategy can't hold, and what to do; None if they go together."""
    if critic.mixes_samples and lipschitz.per_sample:
        what = f"batch mixes the samples of a batch, but {lipschitz.kind} needs per-sample gradients; use layer or none"
        return critic.mixes_samples, what
    if critic.slope_one:
        what = "has slope at most 1 by construction; use lipschitz.kind: none"
        return None if lipschitz.kind == "none" else ("kind", what)
    if not lipschitz.proves_gap or critic.steepens is None:
        return None
    remedy = "use kind: mlp without dropout or residual, or conv with kernel: 2; without norm, and activation: maxmin"
    return critic.steepens, f"can't have slope 1 under {lipschitz.kind}; {remedy}"


def proves_gap(critic: CriticSpec, lipschitz: LipschitzSpec) -> bool:
    """Whether critics of this kind, under this strategy, have slope at most 1, so that their gap is at most W1."""
    return critic.slope_one or lipschitz.proves_gap


class Networks:
    """The generator, the critic with its strategy attached, and the averaged generator if there is a decay for it."""

    def __init__(
        self,
        generator: GeneratorSpec,
        critic: CriticSpec,
        lipschitz: LipschitzSpec,
        latent: Latent,
        shape: Shape,
        *,
        bounded: bool,
        average_decay: float | None = None,
        condition_width: int = 0,
        conditional_critic: BuildCritic | None = None,
    ) -> None:
        """New networks on the CPU, initialised from torch's global random numbers: the generator first.

        With conditions of `condition_width` numbers the generator takes (N, latent.dim + condition_width).
        """
        inputs = latent.model_copy(update={"dim": latent.dim + condition_width})
        self.generator = generator.build(inputs, shape, bounded=bounded)
        if conditional_critic is None:
            self.critic = build_critic(critic, lipschitz, shape)
        else:
            self.critic = lipschitz.attach(conditional_critic(critic, shape, condition_width))
        self.average = Average(self.generator, average_decay) if average_decay is not None else None

    @property
    def sampler(self) -> nn.Module:
        """The generator that draws samples: the averaged one if there is one."""
        return self.generator if self.average is None else self.average.module

    def named(self) -> dict[str, nn.Module]:
        """The modules by the names that messages use."""
        modules = {"generator": self.generator, "critic": self.critic}
        return modules if self.average is None else {**modules, "averaged generator": self.average}

    def to(self, device: torch.device) -> "Networks":
        """Moves the networks to `device`."""
        for network in self.named().values():
            _place(network, device)
        return self

    def eval(self) -> "Networks":
        """Switches to evaluation mode."""
        for network in self.named().values():
            network.eval()
        return self

    def update_average(self) -> None:
        """Updates the averaged generator. Call it after each step of the generator."""
        if self.average is not None:
            self.average.update(self.generator)

    def state_dict(self) -> dict[str, Any]:
        """The weights and buffers of each network, in plain containers."""
        return {
            "generator": self.generator.state_dict(),
            "critic": self.critic.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`; other keys of `state` are ignored. Raises torch's RuntimeError, KeyError or
        TypeError if the state does not fit."""
        self.generator.load_state_dict(state["generator"])
        self.critic.load_state_dict(state["critic"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def _place(network: nn.Module, device: torch.device) -> None:
    """Moves the network. Convolutions over images store the channels of a pixel together, which is faster."""
    volumes = any(parameter.dim() == 5 for parameter in network.parameters())
    network.to(device).to(memory_format=torch.channels_last_3d if volumes else torch.channels_last)
