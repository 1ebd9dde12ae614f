"""The trainer: networks, optimizers, data and random streams of a run. It computes one iteration at a time."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from wgan_cli.conditions import ConditionalDataset, Conditions
from wgan_cli.config.run_config import RunConfig
from wgan_cli.data.base import is_same
from wgan_cli.errors import BadInputError, ExitCode, WganError
from wgan_cli.lipschitz.base import Noise
from wgan_cli.networks.kinked import Kinked
from wgan_cli.optimizers import set_rate
from wgan_cli.streams import Streams
from wgan_cli.training.distributed import ALONE, World
from wgan_cli.training.engine import Outcome, pick_engine
from wgan_cli.training.steps import Steps


class Trainer:
    """The state of a run, and its iterations. `step` is the number of iterations done."""

    def __init__(self, config: RunConfig, device: torch.device, world: World = ALONE) -> None:
        """Raises `WganError` if the data can't be loaded or does not fit. Writes nothing."""
        self.config, self.device, self.world, self.step = config, device, world, 0
        is_eager = config.training.engine == "auto" and not config.lipschitz.is_capturable
        engine = pick_engine("eager" if is_eager else config.training.engine, device, world)
        self._share = world.share(config.training.batch_size)
        self.streams = Streams(config.seed, device)
        self.engine = engine(self.streams.all)
        self.dataset = config.load_data(device)
        self.batches = self.dataset.batches(config.training.batch_size, self.streams.data, self._share)
        torch.manual_seed(config.seed)  # networks are built on the CPU, so that every device has the same first weights
        self.networks = config.networks().to(device)
        self.optimizers = {
            "generator": config.optimizer.generator.build(self.networks.generator.parameters(), engine.capturable),
            "critic": config.optimizer.critic.build(self.networks.critic.parameters(), engine.capturable),
        }
        self.steps = Steps(
            config.objective,
            config.lipschitz,
            world,
            getattr(torch, config.training.precision),
            bool(config.critic.mixes_samples),
            self.engine.differentiate,
            isinstance(self.networks.critic, Kinked),
        )

    @property
    def conditions(self) -> Conditions | None:
        """Which conditions there are, if samples are asked for something."""
        return self.dataset.conditions if isinstance(self.dataset, ConditionalDataset) else None

    def iterate(self) -> Outcome:
        """One iteration: `n_critic` critic steps and one generator step.

        Returns the figures of the last critic step and of the generator step, as tensors on the device, and the real
        and the fake batch of that critic step. Read them before the next iteration.
        """
        # The generator step takes the conditions of one more batch, or its samples too.
        one_more = self.config.condition is not None or self.config.objective.pairs_samples
        self.batches.draw(self.config.training.n_critic + one_more)
        outcome = self.engine.execute(self._iteration)
        self.step += 1
        self._set_rates()
        return outcome

    def _iteration(self) -> Outcome:
        """The part of an iteration that runs on the device, with the same kernels each time."""
        networks, optimizers, count = self.networks, self.optimizers, self.config.training.n_critic
        latents, noises = self._latents(count + 1), self._noises(count)
        for number in range(count):
            real, condition = self.batches.take(number), self.batches.condition(number)
            fake = self.steps.fake(networks.generator, _joined(latents[number], condition))
            parts = self.steps.critic_step(networks.critic, optimizers["critic"], real, fake, noises[number], condition)
        critic_figures = self.steps.critic_figures(parts)
        other = self.batches.take(count) if self.config.objective.pairs_samples else None
        asked = None if condition is None else self.batches.condition(count)
        generator_figures = self.steps.generator_step(
            networks.generator, networks.critic, optimizers["generator"], _joined(latents[count], asked), asked, other
        )
        networks.update_average()
        return Outcome({**critic_figures, **generator_figures}, real, fake, condition)

    def _latents(self, count: int) -> list[Tensor]:
        """New latents of so many batches, drawn at once: this rank's share (n, dim) of each."""
        drawn = self.config.latent.draw(count * self.config.training.batch_size, self.streams.latents)
        return [batch[self._share] for batch in drawn.chunk(count)]

    def _noises(self, count: int) -> list[Noise]:
        """The strategy's random numbers for so many batches, drawn at once: this rank's share of each."""
        size, shape = self.config.training.batch_size, self.config.sample_shape
        drawn = self.config.lipschitz.noise(count * size, shape, self.streams.penalty)
        batches = zip(*(numbers.chunk(count) for numbers in drawn), strict=True) if drawn else [()] * count
        return [tuple(numbers[self._share] for numbers in batch) for batch in batches]

    def _set_rates(self) -> None:
        for name, optimizer in self.optimizers.items():
            spec = getattr(self.config.optimizer, name)
            if spec.decays:
                set_rate(optimizer, spec.rate(self.step, self.config.training.iterations))

    def state_dict(self) -> dict[str, Any]:
        """The whole state, in plain containers and tensors."""
        return {
            "step": self.step,
            **self.networks.state_dict(),
            "optimizers": {name: optimizer.state_dict()["state"] for name, optimizer in self.optimizers.items()},
            "streams": self.streams.state_dict(),
            "batches": self.batches.state_dict(),
            "data": dict(self.dataset.state_dict()),
            "dropout": _dropout_state(self.device),
            "device": self.device.type,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`. Raises `BadInputError` for a state from another type of device, because its
        random numbers can't be continued, and for a state with other shapes."""
        trained_on = state.get("device", self.device.type)
        if trained_on != self.device.type:
            raise BadInputError(f"the run was trained on {trained_on}; go on with --device {trained_on}")
        if not is_same(state.get("data", {}), self.dataset.state_dict()):
            remedy = "go on with the same files, or start a new run"
            raise BadInputError(f"{self.config.data.where}: the data has changed since the run began; {remedy}")
        try:
            self.networks.load_state_dict(state)
            for name, optimizer in self.optimizers.items():  # the config gives learning rates and other settings
                optimizer.load_state_dict({**optimizer.state_dict(), "state": state["optimizers"][name]})
            self.streams.load_state_dict(state["streams"])
            self.batches.load_state_dict(state["batches"])
            _restore_dropout(state["dropout"], self.device)
            self.step = state["step"]
            self._set_rates()
            self.engine.reset()
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise BadInputError(f"the checkpoint does not fit its own config ({reason}); use an older one") from error

    def check_finite(self) -> None:
        """Raises `WganError` if a weight or moment is not finite, and names the first. Waits for the device once."""
        tensors = [
            (f"{network} weight {name}", tensor)
            for network, module in self.networks.named().items()
            for name, tensor in module.state_dict().items()
        ] + [
            (f"{network} optimizer's {name}", tensor)
            for network, optimizer in self.optimizers.items()
            for state in optimizer.state.values()
            for name, tensor in state.items()
        ]
        floating = [tensor for _, tensor in tensors if tensor.is_floating_point()]
        if get_total_norm(floating, norm_type=math.inf).isfinite():  # the largest absolute value, or NaN
            return
        name = next(name for name, tensor in tensors if not tensor.isfinite().all())
        raise self.diverged(f"{name} is not finite")

    def diverged(self, what: str) -> WganError:
        """The error that ends a diverged run; `what` is not finite."""
        return WganError(
            f"diverged: {what} at iteration {self.step}. Lower the learning rates, or look at lipschitz",
            ExitCode.DIVERGED,
        )


def _joined(latents: Tensor, condition: Tensor | None) -> Tensor:
    """The generator's inputs: latents (N, dim), and the conditions (N, width) of its samples."""
    return latents if condition is None else torch.cat([latents, condition], 1)


def _dropout_state(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's global random generators, which dropout uses."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _restore_dropout(state: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
