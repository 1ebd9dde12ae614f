"""`RunConfig`: the config of one run of `wgan train`."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
import yaml
from pydantic import Field, field_validator
from torch import Tensor

from wgan_cli.conditions import Condition
from wgan_cli.data import Data, Dataset
from wgan_cli.lipschitz import Lipschitz
from wgan_cli.networks import Critic, Generator, Latent
from wgan_cli.networks.pair import Networks, pairing_fault, proves_gap
from wgan_cli.objectives import Objective, Wasserstein
from wgan_cli.optimizers import Optimizers
from wgan_cli.spec import Spec

Fault = tuple[tuple[str, ...], str]
"""A key, and the message about its value."""


class TrainingSpec(Spec):
    """How long a run trains, and how an iteration is executed."""

    iterations: int = Field(ge=1)
    """Generator updates, each with its `n_critic` critic updates."""
    batch_size: int = Field(default=64, ge=1)
    """Samples in a batch, of all ranks together."""
    n_critic: int = Field(default=5, ge=1)
    """Critic updates before each generator update."""
    average: float | None = Field(default=None, gt=0, lt=1)
    """Decay of the averaged generator weights that samples use; null: no average is kept."""
    patience: int | None = Field(default=None, ge=1)
    """Ends the run when so many grids in a row (`output.sample_every`) brought no better samples, beyond noise."""
    deterministic: bool = False
    """On a GPU, use only kernels that give the same bits each time, so that resuming is exact. This is slower."""
    engine: Literal["auto", "eager", "compile", "graph", "compiled_graph"] = "auto"
    """How an iteration is executed; all engines compute the same. `auto` is graph on CUDA, else eager. `compiled_graph`
    captures compiled kernels: fewer, after a start that is longer by the compilation."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """With `bfloat16`, the networks' passes use it; weights, penalty, figures and optimizers stay in float32."""
    matmul: Literal["highest", "high", "medium"] = "highest"
    """The precision of float32 matrix products: `high` allows TF32 on a GPU, `medium` also bfloat16."""

    @property
    def engine_holds_state(self) -> bool:
        """Whether the engine can execute networks that update buffers or draw random numbers in a forward pass."""
        return self.engine not in ("compile", "compiled_graph")

    @property
    def engine_captures(self) -> bool:
        """Whether the engine replays a captured iteration, in which nothing may depend on a value."""
        return self.engine in ("graph", "compiled_graph")


class OutputSpec(Spec):
    """How often a run writes figures, grids and checkpoints, in iterations."""

    log_every: int = Field(default=100, ge=1)
    """Iterations between two lines of figures; the last one has a line too."""
    sample_every: int = Field(default=1000, ge=1)
    """Iterations between two pictures of samples, with figures that take longer."""
    checkpoint_every: int = Field(default=1000, ge=1)
    """Iterations between two checkpoints."""
    keep: int = Field(default=2, ge=1)
    """How many of the newest checkpoints are kept."""
    report: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ("tensorboard",)
    """The experiment trackers that get figures and grids too; mlflow and wandb are extras, and read the environment
    variables of their own ($MLFLOW_TRACKING_URI, $WANDB_MODE, ...)."""

    @field_validator("report")
    @classmethod
    def _check_report(cls, report: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(report)) < len(report):
            raise ValueError(f"names a tracker twice: {', '.join(report)}")
        return report


class RunConfig(Spec):
    """Everything that defines one run of `wgan train`."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """At most 32 bits, because torch's generator on the CPU uses no more."""
    data: Data
    """What is learned."""
    latent: Latent
    generator: Generator
    """Makes samples of latents."""
    critic: Critic
    """Scores samples: the gap is its mean score of real samples, less that of generated ones."""
    lipschitz: Lipschitz
    """Keeps the critic's slope down, so that the gap says something of W1."""
    condition: Condition | None = None
    """What samples are asked to be; null: nothing."""
    objective: Objective = Wasserstein()
    """What the networks minimise."""
    optimizer: Optimizers
    training: TrainingSpec
    output: OutputSpec = OutputSpec()

    def to_dict(self) -> dict[str, Any]:
        """The config as plain containers, for YAML, JSON and checkpoints."""
        return self.model_dump(mode="json")

    def flat(self) -> dict[str, Any]:
        """The config as one mapping of dotted keys, `optimizer.critic.lr`, as `--set` has them."""
        return _flat(self.to_dict())

    def to_yaml(self) -> str:
        """The config as YAML, with all defaults written out."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    def networks(self) -> Networks:
        """New networks of this config, on the CPU."""
        condition = self.condition
        return Networks(
            self.generator,
            self.critic,
            self.lipschitz,
            self.latent,
            self.sample_shape,
            bounded=self.data.is_bounded,
            average_decay=self.training.average,
            condition_width=condition.width(self.data) if condition else 0,
            conditional_critic=condition.build_critic if condition else None,
        )

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of what is generated: a sample of the data, without what its condition gives."""
        return self.condition.sample_shape(self.data) if self.condition else self.data.sample_shape

    @property
    def proves_gap(self) -> bool:
        """Whether the critic has slope at most 1 by construction, so that its gap is at most W1."""
        return proves_gap(self.critic, self.lipschitz)

    def joined(self, samples: Tensor, condition: Tensor | None) -> Tensor:
        """Samples of the data's own shape, from what was generated and the conditions (N, width) that were given."""
        if self.condition is None or condition is None:
            return samples
        return self.condition.joined(samples, condition, self.data)

    def load_data(self, device: torch.device) -> Dataset:
        """The data on `device`, with the conditions of samples. Raises `WganError` if it can't be had."""
        dataset = self.data.load(device)
        return self.condition.attach(dataset, self.data) if self.condition else dataset

    def differences(self, other: "RunConfig") -> list[str]:
        """The dotted keys in which two configs differ, without those that may change when a run is resumed."""
        mine, others = self.flat(), other.flat()
        free = {"training.iterations", "training.patience"} | {f"data.{key}" for key in self.data.location_keys}
        return sorted(
            key
            for key in mine.keys() | others.keys()
            if mine.get(key) != others.get(key) and key not in free and not key.startswith("output.")
        )

    def warnings(self) -> Iterator[str]:
        """Settings that are allowed but rarely intended."""
        if self.objective.needs_slope_bound and not (self.lipschitz.bounds_slope or self.critic.slope_one):
            yield (
                f"lipschitz.kind: {self.lipschitz.kind} leaves the critic's slope unbounded, so the gap says "
                "nothing of a distance; use clip, gp or spectral"
            )

    def faults(self) -> Iterator[Fault]:
        """Faults of values that are valid alone, but can't work together."""
        if self.condition:
            try:
                self.condition.check(self.data)
            except ValueError as error:
                yield ("condition", "kind"), str(error)
                return
        for name in ("generator", "critic"):
            try:
                getattr(self, name).check_shape(self.sample_shape)
            except ValueError as error:
                yield (name, "kind"), str(error)
        fault = pairing_fault(self.critic, self.lipschitz)
        if fault is not None:
            yield ("critic", fault[0]), fault[1]
        batch = self.training.batch_size
        if self.data.sample_count is not None and batch > self.data.sample_count:
            yield (
                ("training", "batch_size"),
                f"{batch} is larger than the data, which has {self.data.sample_count} samples",
            )
        if batch == 1 and (self.generator.mixes_samples or self.critic.mixes_samples):
            yield ("training", "batch_size"), "a norm over the batch needs at least 2 samples in it"
        if self.training.engine_captures and not self.lipschitz.is_capturable:
            engine = f"training.engine: {self.training.engine}"
            what = f"{self.lipschitz.kind} can't be captured by {engine}; use eager or compile"
            yield ("lipschitz", "kind"), what
        if not self.training.engine_holds_state:
            yield from self._engine_faults()

    def _engine_faults(self) -> Iterator[Fault]:
        engine = f"training.engine: {self.training.engine}"
        for name in ("generator", "critic"):
            network = getattr(self, name)
            if network.keeps_state:
                message = f"batch norm keeps a state, which {engine} can't hold; use eager, layer or none"
                yield (name, network.keeps_state), message
            if network.draws_randomness:
                message = f"dropout draws other numbers under {engine}; use eager, or set it to 0"
                yield (name, network.draws_randomness), message
        if self.lipschitz.keeps_state:
            yield ("lipschitz", "kind"), f"{self.lipschitz.kind} keeps a state, which {engine} can't hold; use eager"

    def rank_faults(self, ranks: int) -> Iterator[Fault]:
        """Faults of settings with which several ranks would not compute the result of one process."""
        batch = self.training.batch_size
        if batch % ranks:
            near = max(batch // ranks, 1) * ranks
            yield ("training", "batch_size"), f"{batch} does not divide over {ranks} ranks; use {near}, or fewer ranks"
        for name in ("generator", "critic"):
            network = getattr(self, name)
            if network.mixes_samples:
                message = "batch takes each rank's samples alone; train on one rank, or use layer or none"
                yield (name, network.mixes_samples), message
            if network.draws_randomness:
                message = "dropout draws other numbers on each rank; train on one rank, or set it to 0"
                yield (name, network.draws_randomness), message


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """A tree of mappings as one mapping of dotted keys."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, dict) else {above + name: value}
    return flat
