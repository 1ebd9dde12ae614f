"""Trains every Lipschitz strategy on the same data, with the same networks and budget.

    python scripts/compare_strategies.py normal ring --seeds 3
    python scripts/compare_strategies.py mnist --runs runs/compared

Prints for each strategy, as medians over the seeds: what is proved of W1 (`critic/w1_low`), the W1 estimate, the truth
at the last grid (W1, or the Fréchet distance of images), the largest slope seen, and the time of an iteration. Runs go
on in the folder of `--runs` where they were stopped; without one they are removed again. A strategy that needs a critic
of its own says so in its row: orthogonal weights need sorted pairs, and McShane's critic is one of its own kind.
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.devices import pick_device
from wgan_cli.errors import ExitCode, WganError
from wgan_cli.runs.readers import read_metrics
from wgan_cli.training.loop import train_run
from wgan_cli.training.reporting import Reporter

DATA = {
    "normal": ("normal_gp",),
    "ring": (
        "ring_gp",
        "generator.hidden=[128, 128, 128]",
        "critic.hidden=[128, 128, 128]",
        "training.iterations=3000",
    ),
    "mnist": (
        *("mnist_mlp_gp", "training.iterations=1000", "training.batch_size=64", "training.n_critic=5"),
        *(
            f"optimizer.{network}={{kind: adam, lr: 5.0e-4, betas: [0.5, 0.9], decay: linear}}"
            for network in ("generator", "critic")
        ),
    ),
}
"""The shipped config of each, and changes: the ring's own networks would take far longer, and digits have the recipe
that the table was measured with."""
STRATEGIES = {
    "none": ("lipschitz={kind: none}",),
    "clip": ("lipschitz={kind: clip, bound: 0.05}",),
    "gp": ("lipschitz={kind: gp, weight: 10.0}",),
    "gp, one-sided": ("lipschitz={kind: gp, weight: 10.0, sided: one}",),
    "gp, points: noise": ("lipschitz={kind: gp, weight: 10.0, points: noise}",),
    "r1": ("lipschitz={kind: r1, weight: 1.0, fake_weight: 1.0}",),
    "r1, relativistic": ("lipschitz={kind: r1, weight: 1.0, fake_weight: 1.0}", "objective={kind: relativistic}"),
    "spectral": ("lipschitz={kind: spectral}",),
    "spectral, hinge": ("lipschitz={kind: spectral}", "objective={kind: hinge}"),
    "orthogonal, maxmin": ("lipschitz={kind: orthogonal}", "critic.activation=maxmin", "critic.init=torch"),
    "mcshane": ("critic={kind: mcshane}", "lipschitz={kind: none}", "optimizer.critic.lr=1.0e-2"),
}
FIGURES = ("critic/w1_low", "critic/w1", "critic/lipschitz")


def figures_of(run: Path) -> dict[str, float]:
    """The last figures of a run, and its milliseconds an iteration."""
    lines = read_metrics(run)
    last: Mapping[str, float] = lines[-1]
    scores = [score for line in lines if (score := Reporter.score(line)) is not None]
    rates = [line["speed/iterations_per_second"] for line in lines if "speed/iterations_per_second" in line]
    found = {name: last[name] for name in FIGURES if name in last}
    return found | {"truth": scores[-1], "ms": 1000 / statistics.median(rates)}


def trained(config: RunConfig, device: torch.device, out: Path) -> dict[str, float]:
    """The figures of a run; none if it diverged."""
    try:
        return figures_of(train_run(config, device, out=out, name=out.name, resume=True))
    except WganError as error:
        if error.exit_code != ExitCode.DIVERGED:
            raise
        return {}


def in_words(rows: list[dict[str, float]]) -> str:
    """The median of each figure over the runs that have it, and how many diverged."""
    names = dict.fromkeys(name for row in rows for name in row)
    shown = [f"{name} {statistics.median(row[name] for row in rows if name in row):.3g}" for name in names]
    diverged = rows.count({})
    return ", ".join([*shown, *([f"diverged {diverged} of {len(rows)}"] if diverged else [])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", choices=DATA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--strategy", choices=STRATEGIES, action="append", help="only this one; may be given again")
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = pick_device(arguments.device)
    with tempfile.TemporaryDirectory() as scratch:
        for data in arguments.data:
            name, *changes = DATA[data]
            for number, strategy in enumerate(STRATEGIES):
                if arguments.strategy and strategy not in arguments.strategy:
                    continue
                rows = []
                for seed in range(arguments.seeds):
                    config = load_config(name, [*changes, *STRATEGIES[strategy], f"seed={seed}"])
                    out = (arguments.runs or Path(scratch)) / f"{data}-{number}-{seed}"
                    rows.append(trained(config, device, out))
                print(f"{data}, {strategy}: {in_words(rows)}", flush=True)


if __name__ == "__main__":
    main()
