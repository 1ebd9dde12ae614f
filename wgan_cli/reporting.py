"""What is told of a training run, beside the iterations and without any part in them."""

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from wgan_cli import plots
from wgan_cli.config import RunConfig
from wgan_cli.errors import ExitCode, WganError
from wgan_cli.lipschitz import slopes
from wgan_cli.models import generate
from wgan_cli.steps import Figures
from wgan_cli.trainer import Trainer

log = logging.getLogger("wgan")


class Reporter:
    """What is told of a training run, beside the iterations and without any part in them."""

    GRID, HELDOUT, VALUES, TRUTH = 64, 256, 4096, 1000
    PATIENCE = 10
    """Logged iterations in a row with a negative gap, after which it is no passing thing."""

    def __init__(self, trainer: Trainer) -> None:
        data = trainer.config.data
        # Seeds 0, 1, 2, ...: the grid shows what `wgan sample` draws for them. The normal is judged by its density.
        count = self.TRUTH if data.is_image else -(-self.VALUES // math.prod(data.shape))
        self._latents = trainer.config.latent.from_seeds(range(count)).to(trainer.device)
        self._trainer, self._negatives, self._advised = trainer, 0, False
        self.watch = Stopwatch(trainer.step)

    def _samples(self, count: int | None = None) -> Tensor:
        samples = generate(self._trainer.sampler, self._latents[:count])
        if not samples.isfinite().all():
            raise _diverged("a generated sample is not finite", self._trainer.step)
        return samples

    def picture(self) -> plots.Pixels:
        data = self._trainer.config.data
        return plots.picture(self._samples(self.GRID if data.is_image else None), data)

    def truth(self) -> dict[str, float]:
        """The distances that take too long for every logged iteration."""
        return {name: value.item() for name, value in self._trainer.dataset.truth(self._samples()).items()}

    def figures(self, batch_figures: Figures, real: Tensor, fake: Tensor) -> dict[str, float]:
        """The figures as numbers, in one wait for the device. Raises `WganError` where one is not finite.

        The critic's slope and its held-out gap are of the critic after its last step, in evaluation mode, where
        `critic/gap` is of that step's loss; the slope is looked at on real, on fake and midway between them.
        Under ranks every one is to call this, with its share of the batch.
        """
        trainer = self._trainer
        named = {**batch_figures}
        trainer.critic.eval()
        steepest = slopes(trainer.critic, torch.cat([real, fake, (real + fake) / 2])).max()
        heldout = trainer.dataset.heldout()
        if heldout is not None:
            with torch.no_grad():
                scores = trainer.critic(heldout[: self.HELDOUT]).mean(), trainer.critic(fake).mean()
            named["critic/gap_heldout"] = scores[0] - scores[1]
        trainer.critic.train()
        means = trainer.world.mean(torch.stack([value.float() for value in named.values()]))
        values = torch.cat([means, trainer.world.largest(steepest.float()[None])]).tolist()
        told = dict(zip([*named, "critic/lipschitz"], values, strict=True))
        if not trainer.config.data.is_image:
            told |= {name: value.item() for name, value in trainer.dataset.figures(self._samples()).items()}
        _check_finite(told, trainer.step)
        if told["critic/lipschitz"] > 0:  # a critic that is flat everywhere says nothing
            told["critic/w1"] = told["critic/gap"] / told["critic/lipschitz"]
        self._watch_sign(told["critic/gap"])
        return told | self.watch.speeds(trainer.step, trainer.config)

    def _watch_sign(self, gap: float) -> None:
        """Says once when the gap stays negative and the strategy can be the cause."""
        self._negatives = self._negatives + 1 if gap < 0 else 0
        advice = self._trainer.config.lipschitz.advice_on_negative_gap()
        if advice and self._negatives >= self.PATIENCE and not self._advised:
            log.warning("critic/gap was negative at the last %d logged iterations: %s", self.PATIENCE, advice)
            self._advised = True


def in_short(figures: Mapping[str, float]) -> dict[str, str]:
    """What the progress bar shows: the gap, and beside it what it is worth."""
    names = ("critic/gap", "critic/lipschitz", "critic/w1")
    return {name.removeprefix("critic/"): f"{figures[name]:.3g}" for name in names if name in figures}


def _check_finite(figures: Mapping[str, float], step: int) -> None:
    for name, value in figures.items():
        if not math.isfinite(value):
            raise _diverged(f"{name} is {value}", step)


def check_state(trainer: Trainer) -> None:
    """Nothing is logged, shown or saved of weights or moments that are not finite. Waits for the device once.

    Raises `WganError` that names the first of them.
    """
    tensors = [
        (f"{network} weight {name}", tensor)
        for network, module in trainer.networks.items()
        for name, tensor in module.state_dict().items()
    ] + [
        (f"{network} optimizer's {name}", tensor)
        for network, optimizer in trainer.optimizers.items()
        for state in optimizer.state.values()
        for name, tensor in state.items()
    ]
    floating = [tensor for _, tensor in tensors if tensor.is_floating_point()]
    if get_total_norm(floating, norm_type=math.inf).isfinite():  # the largest absolute value; a NaN stays one
        return
    name = next(name for name, tensor in tensors if not tensor.isfinite().all())
    raise _diverged(f"{name} is not finite", trainer.step)


def _diverged(what: str, step: int) -> WganError:
    return WganError(
        f"diverged: {what} at iteration {step}; the last good checkpoint is kept. Lower the learning rates, or "
        "look at lipschitz",
        ExitCode.DIVERGED,
    )


class Stopwatch:
    """Time spent in iterations alone, between one logged iteration and the next."""

    def __init__(self, step: int) -> None:
        self._step, self._spent, self._since = step, 0.0, time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._spent += time.perf_counter() - self._since
        yield
        self._since = time.perf_counter()

    def speeds(self, step: int, config: RunConfig) -> dict[str, float]:
        """Iterations, and real samples seen by the critic, per second since the last call."""
        rate = (step - self._step) / max(self._spent, 1e-9)
        self._step, self._spent = step, 0.0
        return {
            "speed/iterations_per_second": rate,
            "speed/images_per_second": rate * config.training.n_critic * config.training.batch_size,
        }
