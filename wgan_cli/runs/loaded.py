"""Loads a trained run: its networks in evaluation mode, and samples of its generator by seed."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wgan_cli.config.run_config import RunConfig
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.networks.base import in_batches
from wgan_cli.runs.checkpoints import checkpoint_config, find_checkpoint


@dataclass(frozen=True)
class LoadedRun:
    """A trained generator and critic in evaluation mode, the config of their run, and their iteration."""

    generator: nn.Module
    critic: nn.Module
    config: RunConfig
    step: int
    device: torch.device

    def sample(self, seeds: Iterable[int]) -> Tensor:
        """One sample per seed: (N, *shape) on the device; images are in [-1, 1].

        A sample depends on its seed alone (to float32 rounding), not on the other seeds or on the device. Raises
        `WganError` if a sample is not finite.
        """
        return self.sample_latents(self.config.latent.from_seeds(seeds))

    def sample_latents(self, latents: Tensor) -> Tensor:
        """The samples (N, *shape) of `latents` (N, dim), as in `sample`."""
        samples = in_batches(self.generator, latents.to(self.device))
        if not samples.isfinite().all():
            raise WganError(f"samples at iteration {self.step} are not finite: the run had diverged")
        return samples


def load_run(target: str, device: torch.device, *, raw: bool = False) -> LoadedRun:
    """Loads the networks of the run folder or checkpoint file `target`.

    The generator has the averaged weights if the run keeps them; with `raw`, those of the last iteration. Raises
    `WganError` for a checkpoint that is missing, damaged, or does not fit its own config.
    """
    state = find_checkpoint(target)
    try:
        config = checkpoint_config(state, target)
        networks = config.networks()
        networks.load_state_dict(state)
        networks.to(device).eval()
        generator = networks.generator if raw else networks.sampler
        return LoadedRun(generator, networks.critic, config, int(state["step"]), device)
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise BadInputError(f"{target}: its weights do not fit its config ({reason})") from error
