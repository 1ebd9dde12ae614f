"""Computes the logged figures and grids; never changes training."""

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from wgan_cli import plots
from wgan_cli.config.run_config import RunConfig
from wgan_cli.lipschitz.bound import largest_slope, mean_score, w1_estimate
from wgan_cli.networks.base import in_batches
from wgan_cli.training.steps import Figures
from wgan_cli.training.trainer import Trainer

log = logging.getLogger("wgan")


class Reporter:
    """The figures and grids of a trainer, at its current iteration."""

    GRID, HELDOUT, VALUES, TRUTH = 64, 256, 4096, 1000
    PATIENCE = 10
    """The number of successive logged iterations with a negative gap after which a warning is logged."""

    def __init__(self, trainer: Trainer) -> None:
        data = trainer.config.data
        # Seeds 0, 1, 2, ...: the grid shows the same samples as `wgan sample`. Plain values are pooled.
        count = self.TRUTH if data.is_image else -(-self.VALUES // math.prod(data.shape))
        self._latents = trainer.config.latent.from_seeds(range(count)).to(trainer.device)
        self._trainer, self._negatives, self._advised = trainer, 0, False
        self._generated: tuple[int, Tensor] | None = None
        self.watch = Stopwatch(trainer.step)

    def samples(self) -> Tensor:
        """Samples of the seeds 0, 1, 2, ..., generated at most once per iteration, and only if something needs them.

        Raises `WganError` if one is not finite.
        """
        step = self._trainer.step
        if self._generated is None or self._generated[0] != step:
            samples = in_batches(self._trainer.networks.sampler, self._latents)
            if not samples.isfinite().all():
                raise self._trainer.diverged("a generated sample is not finite")
            self._generated = step, samples
        return self._generated[1]

    def picture(self) -> plots.Pixels:
        """The grid of this iteration, or the density of plain values."""
        data = self._trainer.config.data
        return plots.picture(self.samples()[: self.GRID if data.is_image else None], data)

    def truth(self) -> dict[str, float]:
        """Distances to real samples that take too long for every logged iteration, and are computed with each grid."""
        return {name: value.item() for name, value in self._trainer.dataset.truth(self.samples()).items()}

    def figures(self, batch_figures: Figures, real: Tensor, fake: Tensor) -> dict[str, float]:
        """The figures as numbers, with one wait for the device. Raises `WganError` if one is not finite.

        The Lipschitz constant and the held-out gap use the critic after its last step, in evaluation mode;
        `critic/gap` uses the critic before that step. With several ranks, each calls this with its share of the batch.
        """
        trainer, critic = self._trainer, self._trainer.networks.critic
        named = {**batch_figures}
        critic.eval()
        steepest = largest_slope(critic, real, fake)
        heldout = trainer.dataset.heldout()
        if heldout is not None:
            named["critic/gap_heldout"] = mean_score(critic, heldout[: self.HELDOUT]) - mean_score(critic, fake)
        critic.train()
        means = trainer.world.mean(torch.stack([value.float() for value in named.values()]))
        values = torch.cat([means, trainer.world.largest(steepest.float()[None])]).tolist()
        figures = dict(zip([*named, "critic/lipschitz"], values, strict=True))
        figures |= {name: value.item() for name, value in trainer.dataset.figures(self.samples).items()}
        for name, value in figures.items():
            if not math.isfinite(value):
                raise trainer.diverged(f"{name} is {value}")
        w1 = w1_estimate(figures["critic/gap"], figures["critic/lipschitz"])
        if w1 is not None:
            figures["critic/w1"] = w1
        self._watch_sign(figures["critic/gap"])
        return figures | self.watch.speeds(trainer.step, trainer.config)

    def _watch_sign(self, gap: float) -> None:
        """Warns once if the gap stays negative and the strategy can be the cause."""
        self._negatives = self._negatives + 1 if gap < 0 else 0
        advice = self._trainer.config.lipschitz.advice_on_negative_gap()
        if advice and self._negatives >= self.PATIENCE and not self._advised:
            log.warning("critic/gap was negative at the last %d logged iterations: %s", self.PATIENCE, advice)
            self._advised = True


def in_short(figures: Mapping[str, float]) -> dict[str, str]:
    """The figures of the progress bar, as text: gap, Lipschitz constant and W1 estimate."""
    names = ("critic/gap", "critic/lipschitz", "critic/w1")
    return {name.removeprefix("critic/"): f"{figures[name]:.3g}" for name in names if name in figures}


class Stopwatch:
    """Measures the time of the iterations since the last logged one, without the time of reporting."""

    def __init__(self, step: int) -> None:
        self._step, self._spent, self._since = step, 0.0, time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stops the watch while the context lasts."""
        self._spent += time.perf_counter() - self._since
        yield
        self._since = time.perf_counter()

    def speeds(self, step: int, config: RunConfig) -> dict[str, float]:
        """Iterations per second since the last call, and real samples per second that the critic saw."""
        rate = (step - self._step) / max(self._spent, 1e-9)
        self._step, self._spent = step, 0.0
        return {
            "speed/iterations_per_second": rate,
            "speed/images_per_second": rate * config.training.n_critic * config.training.batch_size,
        }
