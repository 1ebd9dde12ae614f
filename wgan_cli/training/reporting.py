"""Computes the logged figures and grids; never changes training."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from wgan_cli.bars import in_words
from wgan_cli.conditions import Classes, Conditions, generator_inputs
from wgan_cli.config.run_config import RunConfig
from wgan_cli.data.finite import judged_count
from wgan_cli.data.pixels import Array, Pixels
from wgan_cli.devices import synchronise
from wgan_cli.figure_names import is_figure
from wgan_cli.lipschitz.estimate import largest_slope, mean_score, w1_estimate
from wgan_cli.networks.base import in_batches
from wgan_cli.plots.samples import drawing
from wgan_cli.plots.scene import MOST_CLASSES, Scene
from wgan_cli.plots.surface import Surface
from wgan_cli.training.engine import Outcome
from wgan_cli.training.fidelity import Fidelity
from wgan_cli.training.judge import Judge
from wgan_cli.training.trainer import Trainer

log = logging.getLogger("wgan")
SCORES = ("frechet/", "truth/w1")
"""What samples are judged by, the best first: how the names of these figures begin."""


class Reporter:
    """The figures and grids of a trainer, at its current iteration."""

    GRID, HELDOUT, VALUES, REAL = 64, 256, 16_384, 2500
    KEPT = 1 << 24
    """At most so many values of real samples (64 MB) are kept on the device for pictures, and as many held-out ones."""
    COLUMNS, MOST_ROWS = 8, 16
    PATIENCE = 10
    """The number of successive logged iterations with a negative gap after which a warning is logged."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, self._negatives, self._advised = trainer, 0, False
        data = trainer.config.data
        self._inputs = self._judged_inputs().to(trainer.device)
        self._grid = self._grid_inputs(trainer.conditions)
        self._real = None if data.is_image else self._shown()
        self._heldout = trainer.dataset.heldout_pairs(self._at_most(self.HELDOUT))
        self._judge = Judge(trainer) if trainer.world.is_first else None  # only the first rank writes figures
        self._fidelity = Fidelity(trainer)
        self._generated: tuple[int, Tensor] | None = None
        self.watch = Stopwatch(trainer.step, trainer.device)

    def _judged_inputs(self) -> Tensor:
        """Inputs of the samples that figures and grids are of: of the seeds 0, 1, 2, ..., as `wgan sample` draws them.

        For pooled values, whose W1 is exact, the latents are the only source of noise, so they are spread evenly.
        """
        config, conditions = self._trainer.config, self._trainer.conditions
        if config.data.view == "pooled" and conditions is None:
            return config.latent.spread(-(-self.VALUES // math.prod(config.data.sample_shape)))
        return generator_inputs(config.latent, conditions, range(max(self.GRID, judged_count(config.sample_shape))))

    def _at_most(self, count: int) -> int:
        """So many samples, or the fewer whose values are `KEPT`; two at least."""
        return min(count, max(2, self.KEPT // math.prod(self._trainer.config.sample_shape)))

    def _shown(self) -> Tensor:
        """Real samples for pictures: few where one is large, as they stay on the device."""
        count = self.REAL if len(self._trainer.config.data.sample_shape) == 1 else self.GRID
        generator = torch.Generator().manual_seed(0)
        return self._trainer.dataset.whole(self._at_most(count), generator, heldout=True)

    def samples(self) -> Tensor:
        """The judged samples, generated at most once per iteration, and only if something needs them.

        Raises `WganError` if one is not finite.
        """
        step = self._trainer.step
        if self._generated is None or self._generated[0] != step:
            samples = in_batches(self._trainer.networks.sampler, self._inputs)
            if not samples.isfinite().all():
                raise self._trainer.diverged("a generated sample is not finite")
            self._generated = step, samples
        return self._generated[1]

    def _grid_inputs(self, conditions: Conditions | None) -> tuple[Tensor, list[str]] | None:
        """The inputs and classes of a grid with one row a class.

        None for data without classes and for points, of which a few show nothing: their picture is of all samples.
        """
        config = self._trainer.config
        most = self.MOST_ROWS if config.data.is_image else MOST_CLASSES
        if not isinstance(conditions, Classes) or len(conditions.names) > most or config.data.view == "table":
            return None
        rows = torch.arange(len(conditions.names)).repeat_interleave(self.COLUMNS)
        latents = config.latent.from_seeds(range(self.COLUMNS)).repeat(len(conditions.names), 1)
        inputs = torch.cat([latents, conditions.encode(rows)], 1).to(self._trainer.device)
        return inputs, [conditions.names[row] for row in rows]

    def drawing(self) -> Callable[[], Pixels]:
        """What draws the grid of this iteration, also while training goes on."""
        return drawing(self._scene())

    def _scene(self) -> Scene:
        """One row a class, where samples are asked for by class."""
        trainer, data = self._trainer, self._trainer.config.data
        if self._grid is not None:
            inputs, classes = self._grid
            samples = in_batches(trainer.networks.sampler, inputs)
            return Scene(samples, data, self._decode, columns=self.COLUMNS, classes=classes)
        samples = self._joined(self.samples())[: self.GRID if data.is_image else None]
        return Scene(samples, data, self._decode, self._real, self._surface())

    def _joined(self, samples: Tensor) -> Tensor:
        """The judged samples in the data's own shape: with what is given beside what is generated."""
        trainer = self._trainer
        condition = None if trainer.conditions is None else self._inputs[:, trainer.config.latent.dim :]
        return trainer.config.joined(samples, condition)

    def _surface(self) -> Surface | None:
        """The critic's, in the plane. Where samples have conditions, it would be another for each."""
        is_plane = self._trainer.config.data.view == "plane"
        if not is_plane or self._real is None or self._trainer.conditions is not None:
            return None
        critic = self._trainer.networks.critic.eval()
        try:
            return Surface.around(self._real, critic)
        finally:
            critic.train()

    def _decode(self, samples: Tensor) -> Array:
        return self._trainer.config.data.decoded(samples, self._trainer.dataset.state_dict())

    def truth(self) -> dict[str, float]:
        """The figures of a grid, on the first rank: distances to real samples, which take too long for every logged
        iteration, and the bound of W1 by more samples."""
        dataset = self._trainer.dataset
        found = {**dataset.figures(self.samples), **dataset.truth(self._joined(self.samples()))}
        figures = {name: value.item() for name, value in found.items()} | self._fidelity.figures()
        return figures | (self._judge.by_many() if self._judge else {})

    @staticmethod
    def score(figures: Mapping[str, float]) -> float | None:
        """The figure of a grid by which samples are judged: smaller is better. The Fréchet distance where there is one,
        as pixels say little of images, else W1; None if nothing is held out."""
        for kind in SCORES:
            for name, value in figures.items():
                if name.startswith(kind) and is_figure(name):
                    return value
        return None

    def figures(self, outcome: Outcome) -> dict[str, float]:
        """The figures as numbers, with few waits for the device. Raises `WganError` if one is not finite.

        The Lipschitz constant and the held-out gap use the critic after its last step, in evaluation mode;
        `critic/gap` uses the critic before that step. With several ranks, each calls this with its share of the batch.
        """
        trainer, critic = self._trainer, self._trainer.networks.critic
        named = {**outcome.figures}
        critic.eval()
        steepest = largest_slope(critic, outcome.real, outcome.fake, outcome.condition)
        if self._heldout is not None:
            score = mean_score(critic, *self._heldout)
            named["critic/gap_heldout"] = score - mean_score(critic, outcome.fake, outcome.condition)
        critic.train()
        means = trainer.world.mean(torch.stack([value.float() for value in named.values()]))
        values = torch.cat([means, trainer.world.largest(steepest.float()[None])]).tolist()
        figures = dict(zip([*named, "critic/lipschitz"], values, strict=True))
        figures |= {name: value.item() for name, value in trainer.dataset.figures(self.samples).items()}
        for name, value in figures.items():
            if not math.isfinite(value):
                raise trainer.diverged(f"{name} is {value}")
        # By all ranks, which must all end where the first finds that training diverged.
        figures |= trainer.world.on_first_rank(lambda: self._judge.by_few(outcome) if self._judge else {})
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


def in_line(figures: Mapping[str, float], step: int, last: int, left: float) -> str:
    """The figures of iteration `step` of `last` that a reader of a log follows, as one line. `left` is in seconds."""
    names = ("critic/gap", "critic/w1", "critic/w1_low", *(name for name in figures if name.startswith(SCORES)))
    words = {"critic/w1": "W1 estimate"}
    shown = [
        f"{words.get(name, name.removeprefix('critic/'))} {figures[name]:.4g}" for name in names if name in figures
    ]
    if rate := figures.get("speed/iterations_per_second"):
        shown.append(f"{rate:.3g} it/s")
    return ", ".join([f"iteration {step} of {last}", *shown, f"{in_words(left)} left"])


BAR = "{n_fmt}/{total_fmt} {bar}| {remaining} left{postfix}"
"""The bar of a run, as tqdm has it: with the figures of `in_short`, it fits into 80 columns."""


def in_short(figures: Mapping[str, float]) -> dict[str, str]:
    """The figures of the progress bar, as text: the gap, the bound that is proved, and the truth."""
    names = {"gap": "critic/gap", "bound": "critic/w1_low", "truth": "truth/w1"}
    return {word: f"{figures[name]:.3g}" for word, name in names.items() if name in figures}


class TimeLeft:
    """The seconds until the last iteration, figures and grids included.

    The pace is that since the first line: before it, engines compile.
    """

    def __init__(self, step: int, last: int) -> None:
        self._last, self._is_first = last, True
        self._begin(step)

    def _begin(self, step: int) -> None:
        self._step, self._since = step, time.monotonic()

    def at(self, step: int) -> float:
        left = (time.monotonic() - self._since) / (step - self._step) * (self._last - step)
        if self._is_first:
            self._is_first = False
            self._begin(step)
        return left


class Stopwatch:
    """Measures the time of the iterations since the last logged one, without the time of reporting.

    It waits for the device before it reads the time, else it would measure how fast Python enqueues iterations.
    """

    def __init__(self, step: int, device: torch.device) -> None:
        self._step, self._device, self._spent = step, device, 0.0
        self._since = self._time()

    def _time(self) -> float:
        synchronise(self._device)
        return time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stops the watch while the context lasts."""
        self._spent += self._time() - self._since
        yield
        self._since = self._time()

    def speeds(self, step: int, config: RunConfig) -> dict[str, float]:
        """Iterations per second since the last call, and real samples per second that the critic saw."""
        rate = (step - self._step) / max(self._spent, 1e-9)
        self._step, self._spent = step, 0.0
        return {
            "speed/iterations_per_second": rate,
            "speed/images_per_second": rate * config.training.n_critic * config.training.batch_size,
        }
