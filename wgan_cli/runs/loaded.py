"""Loads a trained run: its networks in evaluation mode, and samples of its generator by seed."""

import logging
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from wgan_cli.conditions import Classes, Conditions
from wgan_cli.config.run_config import RunConfig
from wgan_cli.data import Dataset
from wgan_cli.data.base import is_same
from wgan_cli.data.pixels import Array, Pixels
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.networks.base import in_batches
from wgan_cli.plots.samples import picture
from wgan_cli.plots.scene import Scene
from wgan_cli.plots.style import png
from wgan_cli.runs.checkpoints import checkpoint_config, find_checkpoint

log = logging.getLogger("wgan")
Asked = Tensor | str | int | Mapping[str, float] | None
"""What samples are asked to be."""


@dataclass(frozen=True, repr=False)
class LoadedRun:
    """A trained generator and critic in evaluation mode, the config of their run, and their iteration.

    In a notebook, it shows itself as a picture of its samples.
    """

    SHOWN: ClassVar[int] = 64
    POINTS: ClassVar[int] = 1000
    ROWS: ClassVar[int] = 16
    COLUMNS: ClassVar[int] = 8
    """Of a picture: images and fields; other samples; with a row a class, the most rows, and the columns."""

    generator: nn.Module
    trained_critic: nn.Module | None
    """None if only the generator was kept, as in a .safetensors file."""
    config: RunConfig
    step: int
    device: torch.device
    data_state: Mapping[str, Any]
    """What the checkpoint holds of the data, for `decode`."""
    conditions: Conditions | None = None
    """Which conditions the run was trained with."""

    @property
    def critic(self) -> nn.Module:
        """The critic. Raises `BadInputError` if only the generator was kept."""
        if self.trained_critic is None:
            raise BadInputError("the file holds a generator without its critic; name the run's folder or a checkpoint")
        return self.trained_critic

    @cached_property
    def dataset(self) -> Dataset:
        """The run's data on the device, loaded once; if it has changed since, the log warns. Raises `WganError` if it
        can't be had any more."""
        dataset = self.config.load_data(self.device)
        if not is_same(self.data_state, dataset.state_dict()):
            told = "has changed since the run was trained: what is held out now, it may have seen"
            log.warning("%s: %s", self.config.data.where, told)
        return dataset

    def sample(self, seeds: Sequence[int] | int, condition: Asked = None) -> Tensor:
        """One sample a seed, on the device: (N, *shape) of the data's own shape, in the units of training.

        A number N stands for the seeds 0 to N - 1. `condition` is what all are asked to be: a class by its name or
        number, or a mapping with a value for each given column; or encoded, (N, width), what each is. By default it is
        drawn as often as in the training data. A seed gives the same sample (to float32 rounding) whatever seeds are
        drawn with it, on every device. Raises `BadInputError` for an unknown condition, and `WganError` if a sample is
        not finite.
        """
        seeds = _checked(seeds)
        return self.sample_latents(self.config.latent.from_seeds(seeds), self._encoded(condition, seeds))

    def _encoded(self, condition: Asked, seeds: Sequence[int]) -> Tensor | None:
        if isinstance(condition, Tensor):
            width = 0 if self.config.condition is None else self.config.condition.width(self.config.data)
            if tuple(condition.shape) != (len(seeds), width):
                shape = tuple(condition.shape)
                raise BadInputError(f"condition: a tensor must have shape {(len(seeds), width)} here, but has {shape}")
            return condition
        if self.conditions is None:
            if condition is not None:
                raise BadInputError(f"the run was trained without conditions; {condition!r} can't be asked for")
            return None
        if condition is None:
            return self.conditions.for_seeds(seeds)
        return self.conditions.asked(condition).expand(len(seeds), -1)

    def sample_latents(self, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        """The samples of `latents` (N, dim), as `sample` gives them."""
        generated = self.generate(latents, condition)
        if condition is not None and self.device.type == "mps":
            condition = condition.float()  # which has no float64
        return self.config.joined(generated, None if condition is None else condition.to(self.device))

    def generate(self, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        """What the generator makes of `latents` (N, dim): samples without what their conditions give."""
        inputs = latents if condition is None else torch.cat([latents, condition.to(latents)], 1)
        samples = in_batches(self.generator, inputs.to(self.device))
        if not samples.isfinite().all():
            raise WganError(f"samples at iteration {self.step} are not finite: the run had diverged")
        return samples

    def picture(self) -> Pixels:
        """Samples of the first seeds as a picture (H, W, C): of images with few classes to ask for, a row of each."""
        conditions, data, columns = self.conditions, self.config.data, self.COLUMNS
        if isinstance(conditions, Classes) and data.is_image and len(conditions.names) <= self.ROWS:
            rows = torch.arange(len(conditions.names)).repeat_interleave(columns)
            samples = self.sample([*range(columns)] * len(conditions.names), conditions.encode(rows))
            classes = [conditions.names[row] for row in rows]
            return picture(Scene(samples, data, self.decode, columns=columns, classes=classes))
        samples = self.sample(self.SHOWN if data.view in ("images", "fields") else self.POINTS)
        return picture(Scene(samples, data, self.decode))

    def _repr_png_(self) -> bytes:
        """What IPython shows."""
        return png(self.picture())

    def __repr__(self) -> str:
        return f"LoadedRun({self.config.data.kind}, iteration {self.step}, on {self.device})"

    def decode(self, samples: Tensor) -> Array:
        """Samples (N, *shape) in the units, type and layout of the run's data: images as uint8 (N, H, W, C)."""
        return self.config.data.decoded(samples, self.data_state)


def _checked(seeds: Sequence[int] | int) -> Sequence[int]:
    """Seeds one by one. Raises `BadInputError` for what are none."""
    if isinstance(seeds, int | np.integer) and not isinstance(seeds, bool) and seeds >= 0:
        return range(int(seeds))
    try:
        numbers = [operator.index(seed) for seed in seeds]  # type: ignore[union-attr]
    except TypeError:
        numbers = [-1]
    if any(number < 0 for number in numbers):
        raise BadInputError(f"seeds: must be a number of samples, or whole numbers from 0, but are {seeds!r}")
    return numbers


def load_run(target: str, device: torch.device, *, raw: bool = False, best: bool = False) -> LoadedRun:
    """Loads the networks of the run folder or checkpoint file `target`, or the generator of a .safetensors file.

    The generator has the averaged weights if the run keeps them; with `raw`, those of the last iteration. With `best`,
    all are those of the iteration whose samples were best (see `training.progress`). Raises `WganError` for a
    checkpoint that is missing, damaged, or does not fit its own config.
    """
    state = find_checkpoint(target, best=best)
    if raw and state.get("weights") == "averaged":
        raise BadInputError(f"--raw: {target} holds the averaged weights alone; name the folder of its run")
    try:
        config = checkpoint_config(state, target)
        networks = config.networks()
        is_alone = "weights" in state  # a generator without its critic
        if is_alone:
            networks.sampler.load_state_dict(state["generator"])
        else:
            networks.load_state_dict(state)
        networks.to(device).eval()
        generator = networks.generator if raw and not is_alone else networks.sampler
        critic = None if is_alone else networks.critic
        data_state = state.get("data", {})
        conditions = config.condition.load(data_state["condition"]) if config.condition else None
        return LoadedRun(generator, critic, config, int(state["step"]), device, data_state, conditions)
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise BadInputError(f"{target}: its weights do not fit its config ({reason})") from error
