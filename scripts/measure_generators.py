"""Trains configs with several seeds, and measures the generators against what is known of their data.

    python scripts/measure_generators.py normal_gp normal_clip --seeds 10
    python scripts/measure_generators.py ring_gp --set data.shape=grid --runs runs/grid

Each seed is trained by `train_run` in a folder of `--runs`, where a stopped one goes on; without `--runs`, the folders
are removed again. Prints each figure of each config: its median and range over the seeds, and its value for each. What
is measured depends on the data:

- normal: exact W1 of 20,000 values to the normal;
- points, stacked_mnist: modes covered, of 2,500 and 26,000 samples;
- images with classes: the Fréchet distance of 10,000 samples to the test split, and the share of each class or, with a
  condition, of samples that are what they were asked to be;
- the table and the given column of `make_examples.py`: distances to new rows of the same distribution.

`floor` rows are the same figures for real samples: those of a perfect generator.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import make_examples
import numpy as np
import torch
from torch import Tensor

from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.data import DataSpec
from wgan_cli.devices import pick_device
from wgan_cli.errors import BadInputError
from wgan_cli.measures.classifier import Classifier, trained_classifier
from wgan_cli.measures.fidelity import class_figures
from wgan_cli.measures.modes import class_modes, normal_modes, stacked_classes
from wgan_cli.runs.loaded import LoadedRun, load_run
from wgan_cli.training.loop import train_run
from wgan_cli.transport import wasserstein_1d, wasserstein_1d_normal

Figures = dict[str, float]
FIRST_SEED = 1_000_000  # latents that no grid has shown


def seeds(count: int) -> range:
    return range(FIRST_SEED, FIRST_SEED + count)


def of_normal(run: LoadedRun, values: int = 20_000) -> Figures:
    data = run.config.data

    def distance(x: Tensor) -> float:
        return wasserstein_1d_normal(x, data.mean, data.std).item()

    samples = run.sample(seeds(-(-values // data.features))).flatten()[:values].double().cpu()
    generator = torch.Generator().manual_seed(0)
    real = data.mean + data.std * torch.randn(values, dtype=torch.float64, generator=generator)
    return {"w1": distance(samples), "floor w1": distance(real)}


def of_points(run: LoadedRun) -> Figures:
    data, points = run.config.data, 2500

    def modes(samples: Tensor) -> Figures:
        return normal_modes(samples, *data.mixture)

    real = data.draw(points, torch.Generator().manual_seed(1)).to(run.device)
    return modes(run.sample(seeds(points))) | as_floor(modes(real))


def of_stacked_digits(run: LoadedRun) -> Figures:
    data, triples = run.config.data, 26_000
    classifier = classifier_of(data.channel_data, run.device)

    def modes(samples: Tensor) -> Figures:
        return class_modes(stacked_classes(classifier, samples), len(data.class_names))

    real = data.load(run.device).real(triples, torch.Generator().manual_seed(0), heldout=True)
    return modes(run.sample(seeds(triples))) | as_floor(modes(real))


def of_classes(run: LoadedRun) -> Figures:
    classifier, count = classifier_of(run.config.data, run.device), 10_000
    dataset = run.dataset
    asked = run.conditions.for_seeds(seeds(count)) if run.conditions else None
    samples = run.sample(seeds(count), asked)
    real = dataset.real(count, torch.Generator().manual_seed(0), heldout=True)
    other = dataset.real(len(real), torch.Generator().manual_seed(0), heldout=False)
    found = class_figures(classifier, samples, real, other)
    wanted = (f"frechet/{classifier.name}", f"frechet/{classifier.name}_floor", "class_share/least")
    figures = {name: found[name] for name in wanted}
    if asked is not None:
        is_right = classifier.classes(samples).cpu() == asked.argmax(1)
        figures["condition/accuracy"] = is_right.double().mean().item()
    return figures


def of_table(run: LoadedRun) -> Figures:
    """The largest W1 of a column, in units of its spread, and the largest error of a correlation."""
    rows = make_examples.ROWS

    def compared(table: np.ndarray) -> Figures:
        x, y, spread = torch.from_numpy(table), torch.from_numpy(real), torch.from_numpy(real.std(0))
        marginals = wasserstein_1d(x.T.contiguous(), y.T.contiguous()) / spread
        errors = np.corrcoef(table.T) - np.corrcoef(real.T)
        return {"worst column's w1 / spread": marginals.max().item(), "worst correlation": abs(errors).max().item()}

    real, other = (
        np.stack(list(make_examples.table(rows, np.random.default_rng(seed)).values()), 1) for seed in (100, 101)
    )
    table = run.decode(run.sample(seeds(rows))).astype(np.float64)
    return compared(table) | as_floor(compared(other))


def of_given_column(run: LoadedRun) -> Figures:
    """W1 within each tenth of c, of sets of 1,000, divided by its mean between real sets: the mean over 20 sets."""
    size, sets = 1000, 20
    chance, ratios = np.random.default_rng(0), []

    def real(c: np.ndarray) -> Tensor:
        return torch.from_numpy(3 * c + (1 + c) * chance.normal(size=c.shape))

    for tenth in range(10):
        c, others, thirds = tenth / 10 + 0.1 * chance.random((3, sets, size))
        condition = run.conditions.encode(torch.from_numpy(c.reshape(-1, 1)))
        samples = run.sample(seeds(c.size), condition)
        x = torch.from_numpy(run.decode(samples)[:, 1].astype(np.float64)).reshape(sets, size)
        ratios.append(
            (wasserstein_1d(x, real(others)).mean() / wasserstein_1d(real(thirds), real(others)).mean()).item()
        )
    return {"w1 / floor, worst tenth": max(ratios), "w1 / floor, mean": statistics.mean(ratios)}


def as_floor(figures: Figures) -> Figures:
    return {f"floor {name}": value for name, value in figures.items()}


def classifier_of(data: DataSpec, device: torch.device) -> Classifier:
    classifier = trained_classifier(data.load(device), data.kind, device)
    assert classifier is not None
    return classifier


def measure_for(name: str, config: RunConfig) -> Callable[[LoadedRun], Figures]:
    """What is measured for this config."""
    data = config.data
    by_kind = {"normal": of_normal, "points": of_points, "stacked_mnist": of_stacked_digits}
    if data.kind in by_kind:
        return by_kind[data.kind]
    if data.is_image and data.class_names:
        return of_classes
    if data.kind == "arrays" and Path(data.path).name in ("table.csv", "given.csv"):
        return of_table if Path(data.path).name == "table.csv" else of_given_column
    raise BadInputError(f"{name}: nothing is known of its data to measure against")


def measured(name: str, overrides: list[str], device: torch.device, folder: Path) -> tuple[Figures, float]:
    """Trains the config in `folder`, or goes on with it. Returns the figures, and the seconds of training."""
    config = load_config(name, overrides)
    measure, start = measure_for(name, config), time.perf_counter()
    path = train_run(config, device, out=folder, name=name, resume=True)
    seconds = time.perf_counter() - start
    return measure(load_run(str(path), device)), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = pick_device(arguments.device)
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.configs:
            rows, spent = [], 0.0
            for seed in range(arguments.seeds):
                folder = (arguments.runs or Path(scratch)) / f"{Path(name).stem}-{seed}"
                figures, seconds = measured(name, [*arguments.overrides, f"seed={seed}"], device, folder)
                rows.append(figures)
                spent += seconds
            print(f"{name}: {spent / len(rows):.0f} s a run")
            for figure in rows[0]:
                values = [row[figure] for row in rows]
                each = " ".join(f"{value:.4g}" for value in values)
                least, median, most = min(values), statistics.median(values), max(values)
                print(f"  {figure}: median {median:.4g}, {least:.4g} to {most:.4g}; seeds 0..: {each}", flush=True)


if __name__ == "__main__":
    main()
