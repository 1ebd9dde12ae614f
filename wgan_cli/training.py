"""The loop: iterations, and below one "is it time?" line figures, grids, checkpoints and stopping."""

import logging
import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Self

import torch
from torch import Tensor, nn
from tqdm import tqdm

from wgan_cli import plots
from wgan_cli.checkpoints import read_newest
from wgan_cli.config import RunConfig, load_config
from wgan_cli.errors import BadInputError, ExitCode, WganError
from wgan_cli.lipschitz import slopes
from wgan_cli.models import averaged, generate
from wgan_cli.run_dir import RunDir, holds_run, occupied
from wgan_cli.steps import Figures, Mathematics
from wgan_cli.streams import Streams

log = logging.getLogger("wgan")


class Trainer:
    """Everything that decides the next iteration, and that iteration."""

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        """Raises `WganError` where the data can't be had or doesn't fit; nothing is written."""
        self.config, self.device, self.step = config, device, 0
        self.streams = Streams(config.seed, device)
        self.dataset = config.data.load(device)
        self.batches = self.dataset.batches(config.training.batch_size, self.streams.data)
        torch.manual_seed(config.seed)  # networks are made on the CPU, so they begin alike on every device
        self.generator = config.generator.build(config.latent, config.data.shape).to(device)
        self.critic = config.critic.build(config.data.shape).to(device)
        self.average = averaged(self.generator, config.training.average) if config.training.average else None
        self.optimizers = {
            "generator": config.optimizer.generator.build(self.generator.parameters()),
            "critic": config.optimizer.critic.build(self.critic.parameters()),
        }
        self.schedules = {
            name: getattr(config.optimizer, name).schedule(optimizer, config.training.iterations)
            for name, optimizer in self.optimizers.items()
        }
        self.mathematics = Mathematics(config.objective, config.lipschitz)

    @property
    def sampler(self) -> nn.Module:
        """The weights that samples use."""
        return self.generator if self.average is None else self.average.module

    def iterate(self) -> tuple[Figures, Tensor, Tensor]:
        """One iteration: `n_critic` critic steps and one generator step.

        Returns the figures of the last critic step and of the generator step, on the device, with the real and
        the fake batch of that critic step.
        """
        batch_size = self.config.training.batch_size
        for _ in range(self.config.training.n_critic):
            real = self.batches.next()
            with torch.no_grad():
                fake = self.generator(self.config.latent.draw(batch_size, self.streams.latents))
            critic_figures = self.mathematics.critic_step(
                self.critic, self.optimizers["critic"], real, fake, self.streams.penalty
            )
        latents = self.config.latent.draw(batch_size, self.streams.latents)
        generator_figures = self.mathematics.generator_step(
            self.generator, self.critic, self.optimizers["generator"], latents
        )
        if self.average is not None:
            self.average.update_parameters(self.generator)
        for schedule in self.schedules.values():
            schedule.step()
        self.step += 1
        return {**critic_figures, **generator_figures}, real, fake

    def state_dict(self) -> dict[str, Any]:
        """The whole state, in plain containers and tensors."""
        return {
            "generator": self.generator.state_dict(),
            "critic": self.critic.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "schedules": {name: schedule.state_dict() for name, schedule in self.schedules.items()},
            "streams": self.streams.state_dict(),
            "batches": self.batches.state_dict(),
            "dropout": _dropout_state(self.device),
            "device": self.device.type,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises `BadInputError` for a state of another device, whose random numbers can't go on, or other shapes."""
        trained_on = state.get("device", self.device.type)
        if trained_on != self.device.type:
            raise BadInputError(f"the run was trained on {trained_on}; go on with --device {trained_on}")
        try:
            self.generator.load_state_dict(state["generator"])
            self.critic.load_state_dict(state["critic"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
                schedule = self.schedules[name]
                schedule.load_state_dict(state["schedules"][name])
                for group, base, factor in zip(
                    optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True
                ):  # as ever, unless training.iterations has changed and with it the decay
                    group["lr"] = base * factor(schedule.last_epoch)
            self.streams.load_state_dict(state["streams"])
            self.batches.load_state_dict(state["batches"])
            _restore_dropout(state["dropout"], self.device)
            self.step = state["step"]
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise BadInputError(f"the checkpoint does not fit its own config ({reason}); use an older one") from error


def _dropout_state(device: torch.device) -> dict[str, Tensor]:
    """torch's own random states, which dropout draws from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _restore_dropout(state: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)


def run(config: RunConfig, device: torch.device, *, out: Path | None, name: str, resume: bool = False) -> Path:
    """Trains a new run, or goes on with the one in `out`, to its last iteration. Returns its folder.

    `name` is the stem of a numbered folder where `out` is None. Whatever can be wrong with the input is found
    before a folder is made. Raises `WganError` for that, and for a run that fails, diverges or is stopped.
    """
    trainer = _built(config, device)
    with occupied(out, name, resume=resume) as path:
        if holds_run(path):
            _go_on(trainer, path)
        if trainer.step == config.training.iterations:
            return path  # done before: nothing to add, nothing to touch
        try:
            with RunDir(path, config, trainer.step, device) as folder:
                train(trainer, folder)
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(device) from error
        except OSError as error:
            reason = error.strerror or error
            raise WganError(f"{path}: can't be written ({reason}); checkpoints in it are as they were") from error
    return path


def _built(config: RunConfig, device: torch.device) -> Trainer:
    try:
        return Trainer(config, device)
    except RuntimeError as error:  # torch has no class for it on the CPU
        if isinstance(error, torch.OutOfMemoryError) or "allocate" in str(error):
            raise _out_of_memory(device) from error
        raise


def _out_of_memory(device: torch.device) -> WganError:
    return WganError(f"{device}: out of memory; lower training.batch_size or the networks' width")


def _go_on(trainer: Trainer, path: Path) -> None:
    """Puts the trainer where the run in `path` was when it last saved, or leaves it at the start."""
    differing = trainer.config.differences(load_config(str(path / "config.yaml")))
    if differing:
        raise BadInputError(
            f"--out {path}: its run has another config, in {', '.join(differing)}; only training.iterations and "
            "output may change when a run goes on. Name another folder for a new run"
        )
    state = read_newest(path)
    if state is not None:
        trainer.load_state_dict(state)
    if trainer.step > trainer.config.training.iterations:
        raise BadInputError(
            f"--out {path}: its run is at iteration {trainer.step} already, beyond training.iterations: "
            f"{trainer.config.training.iterations}"
        )


def train(trainer: Trainer, run: RunDir) -> None:
    """Trains to the config's last iteration, writing figures, grids and checkpoints into `run`.

    Raises `WganError`: exit code 3 when a figure or weight is no longer finite, 75 when a signal asked to stop.
    """
    config, output = trainer.config, trainer.config.output
    last = config.training.iterations
    reporter = _Reporter(trainer)
    bar = tqdm(total=last, initial=trainer.step, unit="it", disable=None, dynamic_ncols=True)
    with bar, _Signals() as signals:
        while trainer.step < last:
            batch_figures = trainer.iterate()
            bar.update()
            step, stop = trainer.step, signals.received
            logs, shows, saves = (
                step == last or step % every == 0
                for every in (output.log_every, output.sample_every, output.checkpoint_every)
            )
            if not (logs or shows or saves or stop):  # is it time?
                continue
            with reporter.watch.paused():
                _check_weights(trainer)
                figures = reporter.figures(*batch_figures) if logs else {}
                if shows:
                    figures |= reporter.truth()
                    run.picture(reporter.picture(), step)
                if figures:
                    run.scalars(figures, step)
                    bar.set_postfix(_in_short(figures), refresh=False)
                if saves or stop:
                    run.checkpoint(trainer.state_dict(), step)
                if stop and step < last:
                    raise _stopped(stop, step, last, run.path)


class _Reporter:
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
        self.watch = _Stopwatch(trainer.step)

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
        """
        trainer = self._trainer
        named = {**batch_figures}
        trainer.critic.eval()
        named["critic/lipschitz"] = slopes(trainer.critic, torch.cat([real, fake, (real + fake) / 2])).max()
        heldout = trainer.dataset.heldout()
        if heldout is not None:
            with torch.no_grad():
                scores = trainer.critic(heldout[: self.HELDOUT]).mean(), trainer.critic(fake).mean()
            named["critic/gap_heldout"] = scores[0] - scores[1]
        trainer.critic.train()
        if not trainer.config.data.is_image:
            named |= trainer.dataset.figures(self._samples())
        values = torch.stack([value.float().to(real.device) for value in named.values()]).tolist()
        told = dict(zip(named, values, strict=True))
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


def _stopped(by: signal.Signals, step: int, last: int, path: Path) -> WganError:
    return WganError(
        f"{by.name}: stopped at iteration {step} of {last}, and saved there; go on with "
        f"`wgan train --config {path / 'config.yaml'} --out {path} --resume`",
        ExitCode.STOPPED,
    )


def _in_short(figures: Mapping[str, float]) -> dict[str, str]:
    """What the progress bar shows: the gap, and beside it what it is worth."""
    names = ("critic/gap", "critic/lipschitz", "critic/w1")
    return {name.removeprefix("critic/"): f"{figures[name]:.3g}" for name in names if name in figures}


def _check_finite(figures: Mapping[str, float], step: int) -> None:
    for name, value in figures.items():
        if not math.isfinite(value):
            raise _diverged(f"{name} is {value}", step)


def _check_weights(trainer: Trainer) -> None:
    """No figure, grid or checkpoint is made of weights that are not finite."""
    networks = {"generator": trainer.generator, "critic": trainer.critic, "averaged generator": trainer.sampler}
    for network, module in networks.items():
        for name, tensor in module.state_dict().items():
            if not tensor.isfinite().all():
                raise _diverged(f"{network} weight {name} is not finite", trainer.step)


def _diverged(what: str, step: int) -> WganError:
    return WganError(
        f"diverged: {what} at iteration {step}; the last good checkpoint is kept. Lower the learning rates, or "
        "look at lipschitz",
        ExitCode.DIVERGED,
    )


class _Stopwatch:
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


class _Signals:
    """Notes a request to stop, to be met after the iteration; a second SIGINT ends the process at once."""

    CAUGHT = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in self.CAUGHT}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
