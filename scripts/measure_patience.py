"""Measures which iteration `best.pt` keeps, and what `training.patience` saves, on runs longer than needed.

    python scripts/measure_patience.py --seeds 4 --runs runs/patience

Each run keeps the checkpoints of all grids. From the figures that it logged, the script finds the iteration that
`best.pt` holds at the end, and where a run with `training.patience` would have ended. Then it measures other samples of
every checkpoint: the Fréchet distance of 10,000 images, W1 of 500,000 values to the normal, or of 2,500 samples to as
many real ones. Prints for each run this figure of the kept iteration, of the best one there was and of the last, and
that of the iteration kept with patience. Learning rates are constant: a run whose rate decays converges at its last
iteration.

For `table_gp`, write its data with `make_examples.py` first.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import measure_generators
import torch

from wgan_cli.config.load import load_config
from wgan_cli.devices import pick_device
from wgan_cli.runs.checkpoints import checkpoints
from wgan_cli.runs.loaded import LoadedRun, load_run
from wgan_cli.runs.readers import read_metrics
from wgan_cli.training.loop import train_run
from wgan_cli.training.progress import Progress
from wgan_cli.training.reporting import Reporter
from wgan_cli.transport import exact_wasserstein

CONSTANT = ("optimizer.generator.decay=constant", "optimizer.critic.decay=constant")
CONFIGS = {
    "normal_gp": ("training.iterations=4000", "output.sample_every=100"),
    "normal_clip": ("training.iterations=4000", "output.sample_every=100"),
    "modes_gp": ("training.iterations=8000", "output.sample_every=200"),
    "table_gp": ("training.iterations=6000", "output.sample_every=150"),
    "mnist_mlp_gp": (
        *("training.iterations=5000", "output.sample_every=125", "training.batch_size=64", "training.n_critic=5"),
        *(f"optimizer.{net}={{kind: adam, lr: 5.0e-4, betas: [0.5, 0.9]}}" for net in ("generator", "critic")),
    ),
}
"""Of each, 40 grids. Digits have the recipe that the table was measured with."""
NUMBERS, POINTS = 500_000, 2500


@dataclass(frozen=True)
class Judged:
    """The grids of a run, in order."""

    steps: Sequence[int]
    logged: Sequence[float]
    """The figure that the run itself judged by."""
    apart: Sequence[float]
    """The same kind of figure, of other samples."""

    def upto(self, count: int) -> "Judged":
        return Judged(self.steps[:count], self.logged[:count], self.apart[:count])

    def kept(self) -> float:
        """The figure apart of the iteration in `best.pt`."""
        progress = Progress()
        for step, value in zip(self.steps, self.logged, strict=True):
            progress.add(step, value)
        assert progress.best_step is not None
        return self.apart[list(self.steps).index(progress.best_step)]

    def ended(self, patience: int) -> int:
        """After how many grids a run with this patience ends."""
        progress = Progress(patience)
        for count, (step, value) in enumerate(zip(self.steps, self.logged, strict=True), 1):
            progress.add(step, value)
            if progress.is_over:
                return count
        return len(self.steps)


def figure_apart(run: LoadedRun) -> float:
    """What the samples of a checkpoint are measured by."""
    data = run.config.data
    if data.kind == "normal":
        return measure_generators.of_normal(run, NUMBERS)["w1"]
    if data.is_image:
        figures = measure_generators.of_classes(run)
        return next(value for name, value in figures.items() if name.startswith("frechet/"))
    real = run.dataset.real(POINTS, torch.Generator().manual_seed(3), heldout=True)
    samples = run.sample(measure_generators.seeds(len(real)))
    return exact_wasserstein(samples.flatten(1).double(), real.flatten(1).double()).item()


def judged(path: Path, device: torch.device) -> Judged:
    scores = {int(line["step"]): score for line in read_metrics(path) if (score := Reporter.score(line)) is not None}
    runs = [load_run(str(file), device) for file in checkpoints(path)]
    apart = {run.step: figure_apart(run) for run in runs}
    steps = [step for step in sorted(scores) if step in apart]
    return Judged(steps, [scores[step] for step in steps], [apart[step] for step in steps])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", default=list(CONFIGS), metavar="config")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--patience", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = pick_device(arguments.device)
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.configs:
            iterations, every = CONFIGS[name]
            often = every.replace("sample", "checkpoint")
            all_kept: list[float] = []
            for seed in range(arguments.seeds):
                changes = [*CONSTANT, iterations, every, often, "output.keep=1000", f"seed={seed}"]
                out = (arguments.runs or Path(scratch)) / f"{name}-{seed}"
                run = judged(train_run(load_config(name, changes), device, out=out, name=name, resume=True), device)
                best, kept = min(run.apart), run.kept()
                all_kept.append(kept / best)
                print(f"{name}, seed {seed}: kept {kept:.4g}, best {best:.4g}, last {run.apart[-1]:.4g}", flush=True)
                for patience in arguments.patience:
                    ended = run.ended(patience)
                    print(
                        f"  patience {patience}: saves {1 - ended / len(run.steps):.0%}, kept "
                        f"{run.upto(ended).kept():.4g}",
                        flush=True,
                    )
            print(
                f"{name}: kept / best, median {statistics.median(all_kept):.3f}, most {max(all_kept):.3f}", flush=True
            )


if __name__ == "__main__":
    main()
