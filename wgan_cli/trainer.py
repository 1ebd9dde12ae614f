"""All that decides the next iteration, and that iteration."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wgan_cli.config import RunConfig
from wgan_cli.distributed import ALONE, World
from wgan_cli.engine import Compiled, Graph, Outcome, pick_engine
from wgan_cli.errors import BadInputError
from wgan_cli.models import averaged, parameter_count
from wgan_cli.optimizers import set_rate
from wgan_cli.steps import Mathematics
from wgan_cli.streams import Streams


class Trainer:
    """Everything that decides the next iteration, and that iteration."""

    def __init__(self, config: RunConfig, device: torch.device, world: World = ALONE) -> None:
        """Raises `WganError` where the data can't be had or doesn't fit; nothing is written."""
        self.config, self.device, self.world, self.step = config, device, world, 0
        self.engine = pick_engine(config.training.engine, device, world)
        self._share = world.share(config.training.batch_size)
        self.streams = Streams(config.seed, device)
        self.dataset = config.data.load(device)
        self.batches = self.dataset.batches(config.training.batch_size, self.streams.data, self._share)
        torch.manual_seed(config.seed)  # networks are made on the CPU, so they begin alike on every device
        generator = config.generator.build(config.latent, config.data.shape).to(device)
        critic = config.critic.build(config.data.shape).to(device)
        # Convolutions read and write a pixel's channels together; what has no channels is as it was.
        self.generator, self.critic = (each.to(memory_format=torch.channels_last) for each in (generator, critic))
        self.average = averaged(self.generator, config.training.average) if config.training.average else None
        capturable = self.engine == "graph"
        self.optimizers = {
            "generator": config.optimizer.generator.build(self.generator.parameters(), capturable),
            "critic": config.optimizer.critic.build(self.critic.parameters(), capturable),
        }
        dtype = getattr(torch, config.training.precision)
        mathematics = Compiled if self.engine == "compile" else Mathematics
        mixes_batch = config.critic.norm == "batch"
        self.mathematics = mathematics(config.objective, config.lipschitz, world, dtype, mixes_batch)
        self._execute = self._executor()

    @property
    def work(self) -> int:
        """How large a step is: samples of this rank times parameters, of the larger network."""
        samples = self.config.training.batch_size // self.world.size
        return samples * max(map(parameter_count, (self.generator, self.critic)))

    @property
    def sampler(self) -> nn.Module:
        """The weights that samples use."""
        return self.generator if self.average is None else self.average.module

    @property
    def networks(self) -> dict[str, nn.Module]:
        """All that is trained or averaged, by the name that users know it by."""
        networks = {"generator": self.generator, "critic": self.critic}
        return networks if self.average is None else networks | {"averaged generator": self.average}

    def iterate(self) -> Outcome:
        """One iteration: `n_critic` critic steps and one generator step.

        Returns the figures of the last critic step and of the generator step, on the device, with the real and
        the fake batch of that critic step. They are to be read before the next iteration.
        """
        self.batches.draw(self.config.training.n_critic)
        outcome = self._execute()
        if self.average is not None:
            self.average.update_parameters(self.generator)
        self.step += 1
        self._set_rates()
        return outcome

    def _executor(self) -> Callable[[], Outcome]:
        return Graph(self._compute, self.streams.all) if self.engine == "graph" else self._compute

    def _compute(self) -> Outcome:
        """What the device does in an iteration: the same kernels each time."""
        for number in range(self.config.training.n_critic):
            real = self.batches.take(number)
            fake = self.mathematics.fake(self.generator, self._latents())
            critic_figures = self.mathematics.critic_step(
                self.critic, self.optimizers["critic"], real, fake, self._uniform()
            )
        generator_figures = self.mathematics.generator_step(
            self.generator, self.critic, self.optimizers["generator"], self._latents()
        )
        return {**critic_figures, **generator_figures}, real, fake

    def _set_rates(self) -> None:
        for name, optimizer in self.optimizers.items():
            spec = getattr(self.config.optimizer, name)
            if spec.decay != "constant":
                set_rate(optimizer, spec.rate(self.step, self.config.training.iterations))

    def _latents(self) -> Tensor:
        """This rank's share of fresh latents for a batch."""
        return self.config.latent.draw(self.config.training.batch_size, self.streams.latents)[self._share]

    def _uniform(self) -> Tensor:
        """This rank's share of the penalty's random numbers for a batch."""
        count, stream = self.config.training.batch_size, self.streams.penalty
        return torch.rand(count, generator=stream, device=stream.device)[self._share]

    def state_dict(self) -> dict[str, Any]:
        """The whole state, in plain containers and tensors."""
        return {
            "generator": self.generator.state_dict(),
            "critic": self.critic.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizers": {name: optimizer.state_dict()["state"] for name, optimizer in self.optimizers.items()},
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
            for name, optimizer in self.optimizers.items():  # rates and the like are the config's
                optimizer.load_state_dict({**optimizer.state_dict(), "state": state["optimizers"][name]})
            self.streams.load_state_dict(state["streams"])
            self.batches.load_state_dict(state["batches"])
            _restore_dropout(state["dropout"], self.device)
            self.step = state["step"]
            self._set_rates()
            self._execute = self._executor()  # a graph would still hold the moments that were replaced
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
