"""A trained generator as one module whose samples are in the user's own units."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wgan_cli.config.run_config import RunConfig
from wgan_cli.runs.loaded import LoadedRun


class ExportedGenerator(nn.Module):
    """Latents (N, dim) to samples (N, ...) as `wgan sample` writes them: their units, type and layout.

    Images are uint8 (N, H, W, C). Arrays and tables have the units and type of their files, with whole numbers where
    these had only such, and a table has its given columns among the generated ones.

    A run with a condition takes a second input (N, width), the encoded condition. A class is one-hot: a 1 at its
    number, counted from 0, in float32. Given columns are (value - shift) / scale in float64, in the order of
    `condition.names`; where a scale is 0, the column was constant, and it is value - shift. `facts` has the names, and
    the numbers of both.
    """

    def __init__(self, generator: nn.Module, config: RunConfig, data_state: Mapping[str, Any]) -> None:
        super().__init__()
        self.generator = generator
        self.decoder = config.data.decoder(data_state)
        self._config = config

    def forward(self, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        inputs = latents if condition is None else torch.cat([latents, condition.to(latents.dtype)], 1)
        return self.decoder(self._config.joined(self.generator(inputs), condition))


def exported(loaded: LoadedRun) -> tuple[ExportedGenerator, dict[str, Tensor]]:
    """The module of a run on the CPU, and an example of its inputs by their names: those of the first seeds.

    Raises `WganError` if the samples of these are not finite.
    """
    assert loaded.device.type == "cpu"
    seeds = range(3)  # of three: a program that is traced with one sample is for one sample
    loaded.sample(seeds)  # raises for a run that has diverged
    inputs = {"latents": loaded.config.latent.from_seeds(seeds)}
    if loaded.conditions is not None:
        number_type = getattr(torch, loaded.conditions.encoding()["type"])
        inputs["condition"] = loaded.conditions.for_seeds(seeds).to(number_type)
    return ExportedGenerator(loaded.generator, loaded.config, loaded.data_state).eval(), inputs
