"""Recipes for image configs, compared after equal seconds of training by two judges.

    python scripts/tune.py mnist_gp --seconds 100 300 900 --seeds 0 1
    python scripts/tune.py mnist_gp --seconds 300 --trials start "one critic step"
    python scripts/tune.py mnist_gp --trials "as shipped" --marks 300 600 1200 2400 4800 20000

Each trial is a recipe for the data of the config; `TRIALS` holds those that were tried, "as shipped" is the config
itself. A trial is trained anew for each number of seconds, so that its rates decay to the end of each. The seconds of
one core, evaluation apart, are divided by those of an iteration, measured first, which gives the iterations. Judged are
the last weights and the averaged ones: by the Fréchet distance that `wgan evaluate` gives, and by that of another
classifier (fully connected, of another seed). With `--marks`, a trial is trained once, for as long as its config says,
and judged at these iterations.
"""

import argparse
import json
import time

import torch
from speedrun import Judge, judged_latents, new_judge
from torch import Tensor, nn

from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.data import Dataset
from wgan_cli.errors import WganError
from wgan_cli.training.trainer import Trainer

CPU = torch.device("cpu")
Row = dict[str, float | str]


def rates(setting: str) -> list[str]:
    """The same setting for both optimizers."""
    return [f"optimizer.{network}.{setting}" for network in ("generator", "critic")]


def adam(settings: str) -> list[str]:
    return [f"optimizer.{network}={{kind: adam, {settings}, decay: linear}}" for network in ("generator", "critic")]


START = [
    "latent.dim=64",
    "generator={kind: conv, channels: [64, 32], final: transposed, norm: batch, activation: relu}",
    "critic={kind: conv, channels: [32, 64], hidden: [256]}",
    "lipschitz={kind: gp, weight: 10.0}",
    *adam("lr: 1.0e-3, betas: [0.5, 0.9]"),
    *("training.batch_size=64", "training.n_critic=2", "training.average=0.999"),
]
HELD = rates("decay_from=0.5")
BEST = [*START, *rates("decay_from=0.6"), "training.batch_size=16"]
MLP = [*BEST, "generator={kind: mlp, hidden: [256, 512]}", "critic={kind: mlp, hidden: [512, 256]}"]
BATCH_NORM = ["generator.norm=batch", "generator.activation=relu"]
CLIP = [
    *(*BEST, "lipschitz={kind: clip, bound: 0.01}"),
    *(f"optimizer.{net}={{kind: rmsprop, lr: 5.0e-4, decay: linear}}" for net in ("generator", "critic")),
    *rates("decay_from=0.6"),
]
MAXMIN = [*CLIP, "critic.hidden=[]", "critic.activation=maxmin"]
TRIALS: dict[str, list[str]] = {
    "as shipped": [],
    "start": START,
    "one critic step": [*START, "training.n_critic=1"],
    "three critic steps": [*START, "training.n_critic=3"],
    "batch size 128": [*START, "training.batch_size=128"],
    "rate 2e-3": [*START, *rates("lr=2.0e-3")],
    "betas 0, 0.9": [*START, *rates("betas=[0.0, 0.9]")],
    "weight 1": [*START, "lipschitz.weight=1"],
    "no hidden layer": [*START, "critic.hidden=[]"],
    "wider generator": [*START, "generator.channels=[128, 64]"],
    "layer norm": [*START, "generator.norm=layer"],
    "relativistic, r1": [*START, "objective.kind=relativistic", "lipschitz={kind: r1, weight: 1.0, fake_weight: 1.0}"],
    "decay from 0.5": [*START, *HELD],
    "decay from 0.5, betas 0, 0.9": [*START, *HELD, *rates("betas=[0.0, 0.9]")],
    "decay from 0.5, betas 0, 0.9, batch size 32": [
        *(*START, *HELD, *rates("betas=[0.0, 0.9]"), "training.batch_size=32"),
    ],
    "decay from 0.6, batch size 32": [*START, *rates("decay_from=0.6"), "training.batch_size=32"],
    "decay from 0.6, batch size 16": BEST,
    "decay from 0.6, batch size 16, betas 0, 0.9": [*BEST, *rates("betas=[0.0, 0.9]")],
    "decay from 0.6, batch size 16, betas 0, 0.9, 10 latents": [*BEST, *rates("betas=[0.0, 0.9]"), "latent.dim=10"],
    "decay from 0.6, batch size 16, betas 0, 0.9, 16 latents": [*BEST, *rates("betas=[0.0, 0.9]"), "latent.dim=16"],
    "decay from 0.6, batch size 16, 6 latents": [*BEST, "latent.dim=6"],
    "decay from 0.6, batch size 16, 8 latents": [*BEST, "latent.dim=8"],
    "decay from 0.6, batch size 16, 10 latents": [*BEST, "latent.dim=10"],
    "decay from 0.6, batch size 16, 16 latents": [*BEST, "latent.dim=16"],
    "mlp": MLP,
    "mlp, batch size 64": [*MLP, "training.batch_size=64"],
    "mlp, batch norm": [*MLP, *BATCH_NORM],
    "mlp, one critic step": [*MLP, "training.n_critic=1"],
    "mlp, rate 5e-4": [*MLP, *rates("lr=5.0e-4")],
    "mlp, betas 0, 0.9": [*MLP, *rates("betas=[0.0, 0.9]")],
    "mlp, wider": [*MLP, "generator.hidden=[512, 1024]", "critic.hidden=[1024, 512]"],
    "mlp, deeper": [*MLP, "generator.hidden=[256, 512, 512]", "critic.hidden=[512, 512, 256]"],
    "mlp, ReLU in the generator": [*MLP, "generator.activation=relu"],
    "mlp, batch size 32": [*MLP, "training.batch_size=32"],
    "clip": CLIP,
    "clip, as published": [
        "generator={kind: conv, channels: [128, 64, 32], norm: batch}",
        "critic={kind: conv, channels: [64, 128]}",
        *(f"optimizer.{net}={{kind: rmsprop, lr: 2.0e-4}}" for net in ("generator", "critic")),
        *("lipschitz={kind: clip, bound: 0.01}", "training.batch_size=64", "training.n_critic=5", "latent.dim=128"),
    ],
    "clip, bound 0.05": [*CLIP, "lipschitz.bound=0.05"],
    "clip, bound 0.1": [*CLIP, "lipschitz.bound=0.1"],
    "clip, five critic steps": [*CLIP, "training.n_critic=5"],
    "clip, batch size 64": [*CLIP, "training.batch_size=64"],
    "clip, rate 1e-3": [*CLIP, *rates("lr=1.0e-3")],
    "clip, batch norm in the critic": [*CLIP, "critic.norm=batch"],
    "clip, batch norm in the critic, bound 0.05": [*CLIP, "critic.norm=batch", "lipschitz.bound=0.05"],
    "clip, layer norm in the critic": [*CLIP, "critic.norm=layer"],
    "clip, no hidden layer": [*CLIP, "critic.hidden=[]"],
    "clip, no hidden layer, bound 0.05": [*CLIP, "critic.hidden=[]", "lipschitz.bound=0.05"],
    "clip, no hidden layer, a wide critic": [*CLIP, "critic.hidden=[]", "critic.channels=[64, 128]"],
    "clip, no hidden layer, bound 0.1, a wide critic": [
        *(*CLIP, "critic.hidden=[]", "lipschitz.bound=0.1", "critic.channels=[64, 128]"),
    ],
    "clip, no hidden layer, five critic steps": [*CLIP, "critic.hidden=[]", "training.n_critic=5"],
    "clip, no hidden layer, maxmin": MAXMIN,
    "clip, no hidden layer, maxmin, bound 0.02": [*MAXMIN, "lipschitz.bound=0.02"],
    "clip, no hidden layer, maxmin, bound 0.05": [*MAXMIN, "lipschitz.bound=0.05"],
    "clip, no hidden layer, maxmin, bound 0.05, slower generator": [
        *(*MAXMIN, "lipschitz.bound=0.05", "optimizer.generator.lr=2.0e-4"),
    ],
    "clip, no hidden layer, maxmin, five critic steps": [*MAXMIN, "training.n_critic=5"],
    "clip, no hidden layer, maxmin, slower generator": [*MAXMIN, "optimizer.generator.lr=2.0e-4"],
    "clip, no hidden layer, maxmin, rate 1e-3": [*MAXMIN, *rates("lr=1.0e-3")],
    "clip, Adam": [*CLIP, *adam("lr: 5.0e-4, betas: [0.5, 0.9]"), *rates("decay_from=0.6")],
}


class Judges:
    """Fréchet distances of samples to the test split, by the features of two classifiers."""

    def __init__(self, dataset: Dataset, config: RunConfig) -> None:
        self.latent = config.latent
        first = new_judge(dataset, config, CPU)
        train, test = dataset.labelled(heldout=False), dataset.labelled(heldout=True)
        assert train is not None  # the first judge has refused data without labels
        assert test is not None
        second = Judge(other_classifier(*train)[:-1], test[0], judged_latents(config))
        self._judges = {"frechet": first, "second": second}

    def __call__(self, generator: nn.Module) -> dict[str, float]:
        return {name: round(judge.distance(generator), 2) for name, judge in self._judges.items()}


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
    trainer = Trainer(config, CPU)
    for _ in range(3):
        trainer.iterate()
    begun = time.process_time()
    for _ in range(count):
        trainer.iterate()
    return (time.process_time() - begun) / count


def lasting(seconds: float | None, source: str, changes: list[str]) -> RunConfig:
    """The config with as many iterations as these seconds allow; None for its own."""
    if seconds is None:
        return load_config(source, changes)
    cost = seconds_an_iteration(load_config(source, changes))
    return load_config(source, [*changes, f"training.iterations={max(8, round(seconds / cost))}"])


def tried(config: RunConfig, marks: list[int], judges: Judges | None) -> tuple[list[Row], Judges]:
    """The distances at these iterations."""
    trainer = Trainer(config, CPU)
    if judges is None or judges.latent != config.latent:
        judges = Judges(trainer.dataset, config)
    took, rows = 0.0, []
    for mark in marks:
        begun = time.process_time()
        while trainer.step < mark:
            trainer.iterate()
        took += time.process_time() - begun
        row: Row = {"iteration": mark, "took": round(took)}
        row.update({f"{name}, raw": value for name, value in judges(trainer.networks.generator).items()})
        if config.training.average is not None:
            row.update({f"{name}, averaged": value for name, value in judges(trainer.networks.sampler).items()})
        rows.append(row)
    return rows, judges


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--seconds", type=float, nargs="+", default=[100.0, 300.0, 900.0], help="of one core")
    parser.add_argument("--marks", type=int, nargs="+", help="iterations; leaves --seconds unread")
    parser.add_argument("--trials", nargs="+", choices=TRIALS, metavar="NAME", default=list(TRIALS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="for every trial")
    options = parser.parse_args()
    torch.set_num_threads(1)
    judges: Judges | None = None
    for seconds in [None] if options.marks else options.seconds:
        for seed in options.seeds:
            for name in options.trials:
                changes = [*options.overrides, *TRIALS[name], f"seed={seed}"]
                trial = {"trial": name, "seconds": seconds, "seed": seed}
                try:
                    config = lasting(seconds, options.config, changes)
                    last = config.training.iterations
                    if options.marks and max(options.marks) > last:
                        parser.error(f"--marks: the trial {name} has {last} iterations")
                    marks = sorted(options.marks) if options.marks else [last // 8, last // 4, last // 2, last]
                    rows, judges = tried(config, marks, judges)
                except WganError as error:  # a recipe that diverges is a result too
                    rows = [{"failed": str(error)}]
                for row in rows:
                    print(json.dumps({**trial, **row}), flush=True)


if __name__ == "__main__":
    main()
