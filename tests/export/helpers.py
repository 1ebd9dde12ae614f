"""Runs before their first iteration, of every kind of data and of networks that the cases below name."""

from pathlib import Path

import torch

from tests.test_every_kind import CASES, MLP, TWINS, config_of
from wgan_cli.config.run_config import RunConfig
from wgan_cli.runs.loaded import LoadedRun

CPU = torch.device("cpu")
KINDS = [case for case in CASES if case not in TWINS and "streamed" not in case]
PICTURES = "data={kind: images, path: ROOT/pictures, size: 8, heldout: 0.3}"
NETWORKS: dict[str, tuple[str, ...]] = {
    "transposed": (
        PICTURES,
        "generator={kind: conv, channels: [8, 4], final: transposed, norm: batch, activation: relu}",
    ),
    "resnet": (PICTURES, "generator={kind: resnet, channels: [8, 8, 8]}"),
    "resnet with layer norm": (PICTURES, "generator={kind: resnet, channels: [8, 4], norm: layer, activation: silu}"),
    "instance norm": (PICTURES, "generator={kind: conv, channels: [8, 4], norm: instance, activation: maxmin}"),
    "residual mlp": (PICTURES, "generator={kind: mlp, hidden: [8, 8], norm: layer, residual: true, dropout: 0.2}"),
    "uniform latents": (
        PICTURES,
        "latent={dim: 5, kind: uniform}",
        "generator={kind: mlp, norm: batch, activation: elu}",
    ),
    "1-D resnet": ("data={kind: arrays, path: ROOT/series.npy}", "generator={kind: resnet, channels: [8, 8]}"),
    "3-D conv": ("data={kind: arrays, path: ROOT/volumes.npy}", "generator={kind: conv, channels: [8, 4]}"),
    "3-D resnet": ("data={kind: arrays, path: ROOT/volumes.npy}", "generator={kind: resnet, channels: [8, 8]}"),
}


def config_for(root: Path, case: str) -> RunConfig:
    if case in NETWORKS:
        more = (text.replace("ROOT", str(root)) for text in (*MLP[1:], *NETWORKS[case]))
        return config_of(root, "images", *more)
    return config_of(root, case)


def untrained(root: Path, case: str) -> LoadedRun:
    """A run of the case before its first iteration, except that its norms have seen some samples."""
    config = config_for(root, case)
    torch.manual_seed(0)
    networks = config.networks()
    state = config.load_data(CPU).state_dict()
    conditions = config.condition.load(state["condition"]) if config.condition else None
    width = 0 if conditions is None else conditions.encoding()["width"]
    with torch.no_grad():
        for _ in range(20):
            networks.generator(torch.randn(64, config.latent.dim + width))
            networks.update_average()
    networks.to(CPU).eval()
    return LoadedRun(networks.sampler, networks.critic, config, 4, CPU, state, conditions)


def inputs_of(loaded: LoadedRun, count: int) -> dict[str, torch.Tensor]:
    """The inputs of an exported generator for the first seeds, by their names."""
    seeds = range(count)
    latents = {"latents": loaded.config.latent.from_seeds(seeds)}
    if loaded.conditions is None:
        return latents
    number_type = getattr(torch, loaded.conditions.encoding()["type"])
    return latents | {"condition": loaded.conditions.for_seeds(seeds).to(number_type)}
