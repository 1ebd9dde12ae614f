"""Distances between any two sets of samples: files, or datasets by name.

Each method takes points (N, D) and (M, D) in float64 and gives named figures; `w1` is W1, `w2_squared` is W2².
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from tqdm import tqdm

from wgan_cli import transport
from wgan_cli.config import load_spec
from wgan_cli.data import Mnist, scale
from wgan_cli.errors import BadInputError
from wgan_cli.files import load_plain
from wgan_cli.lipschitz import GradientPenalty, Lipschitz, between, slopes
from wgan_cli.models import Critic, MlpCritic, averaged
from wgan_cli.objectives import Wasserstein
from wgan_cli.optimizers import Adam, Optimizer, set_rate
from wgan_cli.spec import Spec
from wgan_cli.steps import Mathematics

# --- sets of samples ---------------------------------------------------------------------------------------


def read_points(source: str, most: int, generator: torch.Generator) -> Tensor:
    """The samples that `source` names as points (N, D) in float64; where there are more than `most`, a draw of
    that many without replacement.

    A file holds one sample a row: `.npy`; `.npz` (array `samples`, else its only one); `.pt` (a tensor); `.csv`
    (numbers, with or without a header line). Bytes, as `wgan sample` writes images, are scaled to [-1, 1].
    Raises `BadInputError` for anything else.
    """
    samples = _read(source)
    if samples.dim() == 0 or not samples.numel():
        raise BadInputError(f"{source}: holds no samples")
    if samples.is_complex():
        raise BadInputError(f"{source}: holds complex numbers; distances are between real ones")
    if len(samples) > most:
        samples = samples[torch.randperm(len(samples), generator=generator)[:most]]
    points = (scale(samples) if samples.dtype == torch.uint8 else samples).double().reshape(len(samples), -1)
    if not points.isfinite().all():
        raise BadInputError(f"{source}: holds values that are not finite")
    return points


def _read(source: str) -> Tensor:
    name, _, split = source.partition(":")
    if name == "mnist" and split in ("train", "test"):
        return Mnist.model_validate({"split": split}).read("images")
    path = Path(source).expanduser()
    if path.suffix not in _READERS:
        known = ", ".join(_READERS)
        raise BadInputError(f"{source}: is none of {known} files, nor mnist:train or mnist:test")
    try:
        if not path.is_file():
            raise BadInputError(f"{source}: no such file")
        return _READERS[path.suffix](path)
    except (OSError, ValueError, TypeError, EOFError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise BadInputError(f"{source}: can't be read as {path.suffix} ({reason})") from error


def _read_npz(path: Path) -> Tensor:
    with np.load(path, allow_pickle=False) as file:
        if "samples" not in file and len(file.files) != 1:
            raise ValueError(f"has no array `samples`, but {', '.join(file.files) or 'none at all'}")
        return torch.from_numpy(file["samples" if "samples" in file else file.files[0]])


def _read_pt(path: Path) -> Tensor:
    content = load_plain(path)
    if not isinstance(content, Tensor):
        raise ValueError(f"holds a {type(content).__name__}, not a tensor")
    return content


def _read_csv(path: Path) -> Tensor:
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row]
    try:
        [float(cell) for cell in rows[0]] if rows else []
    except ValueError:
        rows = rows[1:]  # a header
    return torch.tensor([[float(cell) for cell in row] for row in rows], dtype=torch.float64)


_READERS: dict[str, Callable[[Path], Tensor]] = {
    ".npy": lambda path: torch.from_numpy(np.load(path, allow_pickle=False)),
    ".npz": _read_npz,
    ".pt": _read_pt,
    ".csv": _read_csv,
}

# --- methods -----------------------------------------------------------------------------------------------


class CriticFit(Spec):
    """A critic alone between two fixed sets: its network, strategy and training.

    The default penalty is heavy, since nothing here has to keep pace with a generator: with weight 10 the slope
    overshoots where the gap gains by it, by up to a quarter, and the estimate falls short by as much.
    """

    critic: Critic = MlpCritic(hidden=(128, 128), activation="leaky_relu")
    lipschitz: Lipschitz = GradientPenalty(weight=1000.0, sided="one")
    optimizer: Optimizer = Adam(lr=1e-3, betas=(0.0, 0.9), decay="linear")
    steps: int = Field(default=5000, ge=1)
    batch_size: int = Field(default=512, ge=2)
    average: float = Field(default=0.99, gt=0, lt=1)
    """Decay of the averaged weights that are judged in the end."""
    spread: float = Field(default=1.0, gt=0)
    """The two sets are scaled together to this root mean square a value. Under `clip` a small one lets the biases,
    clipped like the weights, put a unit's kink anywhere among the points, so that a straight critic stays one."""


@dataclass(frozen=True)
class Question:
    """What is asked of two sets of points, (N, D) and (M, D) in float64."""

    x: Tensor
    y: Tensor
    p: float = 1
    epsilon: float | None = None
    seed: int = 0
    fit: CriticFit = field(default_factory=CriticFit)

    @property
    def resolved_epsilon(self) -> float:
        """The entropic blur in the unit of the cost ‖x − y‖^p; a hundredth of the mean cost where none is given."""
        if self.epsilon is not None:
            return self.epsilon
        return float((torch.cdist(self.x, self.y) ** self.p).mean()) / 100


@dataclass(frozen=True)
class Answer:
    """Figures by name, and the plan (N, M) where the method has one."""

    figures: dict[str, float | bool]
    plan: Tensor | None = None


def exact(asked: Question) -> Answer:
    """W_p by the network simplex."""
    plan = transport.exact_plan(asked.x, asked.y, asked.p)
    cost = (plan * torch.cdist(asked.x, asked.y, compute_mode="donot_use_mm_for_euclid_dist") ** asked.p).sum()
    return Answer({f"w{asked.p:g}": cost.item() ** (1 / asked.p)}, plan)


def sinkhorn(asked: Question) -> Answer:
    """The entropic plan's cost ⟨P, C⟩, C = ‖x − y‖^p, and the debiased divergence."""
    epsilon = asked.resolved_epsilon
    found = transport.sinkhorn(asked.x, asked.y, epsilon, asked.p)
    divergence = transport.sinkhorn_divergence(asked.x, asked.y, epsilon, asked.p)
    figures = {
        "sinkhorn_cost": found.cost.item(),
        "sinkhorn_divergence": divergence.item(),
        "epsilon": epsilon,
        "marginal_error": found.marginal_error.item(),
        "converged": bool(found.converged),
    }
    return Answer(figures, found.plan)


def sliced(asked: Question) -> Answer:
    """The sliced W_p over 256 directions."""
    generator = torch.Generator().manual_seed(asked.seed)
    distance = transport.sliced_wasserstein(asked.x, asked.y, p=asked.p, generator=generator)
    return Answer({f"sliced_w{asked.p:g}": distance.item()})


def gaussian(asked: Question) -> Answer:
    """W2 between the normals that have the sets' means and covariances."""
    if min(len(asked.x), len(asked.y)) < 2:
        raise BadInputError("--method gaussian: needs at least 2 samples in each set, for a covariance")
    moments = [(points.mean(0), torch.cov(points.T).reshape(points.shape[1], -1)) for points in (asked.x, asked.y)]
    squared = transport.gaussian_w2_squared(*moments[0], *moments[1]).item()
    return Answer({"gaussian_w2": squared**0.5, "gaussian_w2_squared": squared})


def one_dimensional(asked: Question) -> Answer:
    """W_p of single values through their quantile functions."""
    if asked.x.shape[1] != 1:
        raise BadInputError(f"--method 1d: samples here have {asked.x.shape[1]} values, not one; use exact or sliced")
    return Answer({f"w{asked.p:g}": transport.wasserstein_1d(asked.x[:, 0], asked.y[:, 0], asked.p).item()})


def critic(asked: Question) -> Answer:
    """W1 as a critic trained between the sets tells it: gap / Lipschitz constant, an estimate from below.

    The sets are scaled together to the spread of the fit, and the figures back: f(x) = s · g(x / s) has g's slopes.
    """
    pooled = torch.cat([asked.x, asked.y])
    unit = ((pooled - pooled.mean(0)).square().mean().sqrt() / asked.fit.spread).clamp_min(1e-300)
    x, y = (((points - pooled.mean(0)) / unit).float() for points in (asked.x, asked.y))
    network = fitted_critic(x, y, asked.fit, asked.seed)
    with torch.no_grad():
        gap = (network(x).mean() - network(y).mean()).item() * unit.item()
    count = max(len(x), len(y))
    generator = torch.Generator().manual_seed(asked.seed)
    ways = between(drawn(x, count, generator), drawn(y, count, generator), torch.rand(count, generator=generator))
    steepest = slopes(network, torch.cat([x, y, ways])).max().item()
    figures = {"gap": gap, "lipschitz": steepest}
    return Answer(figures | ({"w1_estimate": gap / steepest} if steepest > 0 else {}))


def drawn(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` of the points, with replacement."""
    return points[torch.randint(len(points), (count,), generator=generator, device=points.device)]


def fitted_critic(x: Tensor, y: Tensor, fit: CriticFit, seed: int) -> torch.nn.Module:
    """A critic that scores x (N, D) high and y (M, D) low under the strategy of `fit`; averaged, in evaluation."""
    generator = torch.Generator(x.device).manual_seed(seed)
    torch.manual_seed(seed)
    network = fit.critic.build(tuple(x.shape[1:])).to(x.device)
    optimizer = fit.optimizer.build(network.parameters())
    average = averaged(network, fit.average)
    mathematics = Mathematics(Wasserstein(), fit.lipschitz)
    for step in tqdm(range(fit.steps), desc="critic", disable=None):
        set_rate(optimizer, fit.optimizer.rate(step, fit.steps))
        high, low = (drawn(points, fit.batch_size, generator) for points in (x, y))
        uniform = torch.rand(fit.batch_size, generator=generator, device=x.device)
        mathematics.critic_step(network, optimizer, high, low, uniform)
        average.update_parameters(network)
    return average.module


METHODS: dict[str, Callable[[Question], Answer]] = {
    "exact": exact,
    "sinkhorn": sinkhorn,
    "sliced": sliced,
    "gaussian": gaussian,
    "1d": one_dimensional,
    "critic": critic,
}


WITH_PLAN = ("exact", "sinkhorn")


def load_fit(path: str | None) -> CriticFit:
    """The critic's YAML file, read as strictly as a run's config; the defaults where there is none."""
    return CriticFit() if path is None else load_spec(Path(path).expanduser(), CriticFit)


def answer(asked: Question, method: str) -> Answer:
    """Raises `BadInputError` for sets that do not fit together or the method."""
    if asked.x.shape[1] != asked.y.shape[1]:
        raise BadInputError(
            f"samples of A have {asked.x.shape[1]} values and those of B {asked.y.shape[1]}; distances need as many"
        )
    if method not in METHODS:
        raise BadInputError(f"--method {method}: unknown; allowed: {', '.join(METHODS)}")
    try:
        return METHODS[method](asked)
    except ValueError as error:
        raise BadInputError(f"--method {method}: {error}") from error
