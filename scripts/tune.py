"""Recipes for image configs, compared after equal seconds of training by two judges.

    python scripts/tune.py mnist_gp --seconds 100 300 900 --seeds 2
    python scripts/tune.py mnist_gp --seconds 300 --trials shipped "one critic step"

Each trial is a config and changes to it; `TRIALS` holds those that were tried. It is trained anew for each number of
seconds, so that its rates decay to the end of each: the seconds of one core that a trial may take, evaluation apart,
are divided by those of its iterations, measured first. Judged are the last weights and the averaged ones: by the
Fréchet distance that `wgan evaluate` gives, and by that of another classifier (fully connected, of another seed).
"""

import argparse
import json
import time
from pathlib import Path

import torch
from speedrun import FIRST_SEED, SAMPLES
from torch import Tensor, nn

from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.data import Dataset
from wgan_cli.errors import WganError
from wgan_cli.measures.classifier import trained_classifier
from wgan_cli.measures.fidelity import frechet
from wgan_cli.networks.base import in_batches
from wgan_cli.training.trainer import Trainer

TRIALS: dict[str, list[str]] = {
    "shipped": [],
    "one critic step": ["training.n_critic=1"],
    "three critic steps": ["training.n_critic=3"],
    "batch size 128": ["training.batch_size=128"],
    "rate 5e-4": ["optimizer.generator.lr=5e-4", "optimizer.critic.lr=5e-4"],
    "rate 2e-3": ["optimizer.generator.lr=2e-3", "optimizer.critic.lr=2e-3"],
    "critic's rate doubled": ["optimizer.critic.lr=2e-3"],
    "cosine decay": ["optimizer.generator.decay=cosine", "optimizer.critic.decay=cosine"],
    "betas 0, 0.9": ["optimizer.generator.betas=[0.0, 0.9]", "optimizer.critic.betas=[0.0, 0.9]"],
    "weight 1": ["lipschitz.weight=1"],
    "weight 3": ["lipschitz.weight=3"],
    "one-sided": ["lipschitz.sided=one"],
    "no hidden layer": ["critic.hidden=[]"],
    "wider critic": ["critic.channels=[48, 96]"],
    "deeper critic": ["critic.channels=[32, 64, 128]", "critic.hidden=[]"],
    "wider generator": ["generator.channels=[128, 64]"],
    "layer norm": ["generator.norm=layer"],
    "no norm": ["generator.norm=none"],
    "relativistic, r1": ["objective.kind=relativistic", "lipschitz={kind: r1, weight: 1.0, fake_weight: 1.0}"],
    "hinge, spectral": ["objective.kind=hinge", "lipschitz={kind: spectral}"],
}


class Judges:
    """Fréchet distances of samples to the test split, by the features of two classifiers."""

    def __init__(self, dataset: Dataset, config: RunConfig) -> None:
        train, test = dataset.labelled(heldout=False), dataset.labelled(heldout=True)
        first = trained_classifier(dataset, config.data.kind, torch.device("cpu"))
        assert first is not None and train is not None and test is not None
        self._features = {"frechet": first.features, "second": other_classifier(*train)[:-1]}
        self._test = {name: in_batches(features, test[0]) for name, features in self._features.items()}
        self._latents = config.latent.from_seeds(range(FIRST_SEED, FIRST_SEED + SAMPLES))

    def __call__(self, generator: nn.Module) -> dict[str, float]:
        found: dict[str, list[Tensor]] = {name: [] for name in self._features}
        for part in self._latents.split(1000):
            images = in_batches(generator, part)
            for name, features in self._features.items():
                found[name].append(in_batches(features, images))
        return {name: round(frechet(torch.cat(parts), self._test[name]), 2) for name, parts in found.items()}


def other_classifier(images: Tensor, labels: Tensor, epochs: int = 6) -> nn.Sequential:
    """Fully connected, with dropout: another architecture, seed and number of epochs than the project's judge."""
    torch.manual_seed(1)
    layers = [nn.Flatten(), nn.Linear(images[0].numel(), 512), nn.ReLU(), nn.Dropout(0.3), nn.Linear(512, 128)]
    network = nn.Sequential(*layers, nn.ReLU(), nn.Linear(128, int(labels.max()) + 1))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(epochs):
        for chosen in torch.randperm(len(images)).split(128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[chosen]), labels[chosen]).backward()
            optimizer.step()
    return network.eval()


def seconds_an_iteration(config: RunConfig, count: int = 40) -> float:
    trainer = Trainer(config, torch.device("cpu"))
    for _ in range(3):
        trainer.iterate()
    begun = time.process_time()
    for _ in range(count):
        trainer.iterate()
    return (time.process_time() - begun) / count


def tried(source: str, changes: list[str], seconds: float, judges: Judges | None) -> tuple[dict[str, float], Judges]:
    """The iterations that these seconds allow, and the distances after them."""
    cost = seconds_an_iteration(load_config(source, changes))
    config = load_config(source, [*changes, f"training.iterations={max(1, round(seconds / cost))}"])
    trainer = Trainer(config, torch.device("cpu"))
    judges = judges or Judges(trainer.dataset, config)
    begun = time.process_time()
    for _ in range(config.training.iterations):
        trainer.iterate()
    row: dict[str, float] = {"iterations": config.training.iterations, "took": round(time.process_time() - begun)}
    row.update({f"{name}, raw": value for name, value in judges(trainer.networks.generator.eval()).items()})
    if config.training.average is not None:
        row.update({f"{name}, averaged": value for name, value in judges(trainer.networks.sampler).items()})
    return row, judges


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--seconds", type=float, nargs="+", default=[100.0, 300.0, 900.0], help="of one core")
    parser.add_argument("--trials", nargs="+", choices=TRIALS, default=list(TRIALS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="for every trial")
    options = parser.parse_args()
    torch.set_num_threads(1)
    judges: Judges | None = None
    for seconds in options.seconds:
        for seed in options.seeds:
            for name in options.trials:
                changes = [*options.overrides, *TRIALS[name], f"seed={seed}"]
                row: dict[str, object] = {"config": Path(options.config).stem, "trial": name}
                row.update(seconds=seconds, seed=seed)
                try:
                    found, judges = tried(options.config, changes, seconds, judges)
                    row.update(found)
                except WganError as error:  # a recipe that diverges is a result too
                    row["failed"] = str(error)
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
