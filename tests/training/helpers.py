"""Small configs and trainers that the tests of `wgan_cli/training`, and those that need a GPU, share."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.training.trainer import Trainer

CPU = torch.device("cpu")
QUICK = ("generator.hidden=[8]", "critic.hidden=[8]", "training.batch_size=16", "training.n_critic=2")
SMALL = ("training.batch_size=8", "training.n_critic=2", "training.average=0.9", "latent.dim=4")
STRATEGIES = ("{kind: gp, weight: 10.0}", "{kind: gp, weight: 1.0, sided: one}", "{kind: clip, bound: 0.05}")
CASES = [(network, strategy) for network in ("mlp", "conv") for strategy in STRATEGIES]
CASES.append(("mcshane", "{kind: none}"))
ORTHOGONAL = [(network, "{kind: orthogonal}") for network in ("sorting mlp", "sorting conv")]
"""Cases that can't be captured in a graph."""


def quick(name: str = "normal_gp", *overrides: str, iterations: int = 6) -> RunConfig:
    """A shipped config of plain values, made small, that writes something every few iterations."""
    intervals = ("output.log_every=2", "output.sample_every=3", "output.checkpoint_every=4")
    return load_config(name, [*QUICK, *intervals, f"training.iterations={iterations}", *overrides])


def case(network: str, strategy: str, mnist: Path, *more: str) -> RunConfig:
    """One of `CASES` or `ORTHOGONAL`: convolutions train on the images in `mnist`, the others on a normal."""
    conv = (
        *("generator={kind: conv, channels: [4, 2, 1]}", "critic={kind: conv, channels: [2, 4]}"),
        *(f"optimizer.{network}.decay_from=0" for network in ("generator", "critic")),
        f"data.root={mnist}",
    )
    sorting = "critic.activation=maxmin"
    name, changes = {
        "conv": ("mnist_gp", conv),
        "sorting conv": ("mnist_gp", (*conv, sorting, "critic.kernel=2", "critic.hidden=[6]")),
        "sorting mlp": ("normal_gp", ("generator.hidden=[8]", "critic.hidden=[8, 4]", sorting)),
        "mlp": ("normal_gp", ("generator.hidden=[8]", "critic.hidden=[8]", "critic.norm=layer")),
        "mcshane": ("normal_gp", ("generator.hidden=[8]", "critic={kind: mcshane, anchors: 8}")),
    }[network]
    return load_config(name, [*SMALL, *changes, f"lipschitz={strategy}", *more])


def leave_out_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `torch.compile` trace and differentiate, but generate no machine code, which takes the longest."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


def weights(trainer: Trainer) -> Tensor:
    """All weights, as one vector."""
    networks = trainer.networks.named().values()
    return torch.cat([weight.detach().double().flatten() for net in networks for weight in net.parameters()])


def apart(one: Trainer, other: Trainer, iterations: int = 20) -> float:
    """The relative distance of all weights after so many iterations."""
    for _ in range(iterations):
        one.iterate()
        other.iterate()
    return ((weights(one) - weights(other)).norm() / weights(one).norm()).item()


def differing(one: Any, other: Any, name: str = "state") -> list[str]:
    """The names of the parts in which two states of plain containers and tensors differ."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [part for key in one for part in differing(one[key], other[key], f"{name}.{key}")]
    same = torch.equal(one, other) if isinstance(one, Tensor) else one == other
    return [] if same else [name]
