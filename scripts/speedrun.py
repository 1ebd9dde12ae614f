"""Seconds of training until a config's samples reach a bar: the Fréchet distance that `wgan evaluate` gives for images.

    python scripts/speedrun.py mnist_gp --bar 15 --seeds 5
    python scripts/speedrun.py mnist_gp --bar 15 --seeds 1 --peer textbook

Rules:
1. The data are those of the config, unchanged: the training split trains, the test split judges.
2. No pretrained weights, and nothing kept from earlier runs but the judge.
3. The judge is the project's classifier of the data's own labels. Its checksum is printed with each run.
4. The figure is the Fréchet distance of 10,000 samples, of seeds that nothing else draws, to the test split.
5. Samples are those of `wgan sample`: by the averaged weights if the config keeps some; no latent is truncated.
6. The clock runs while the run trains: it draws batches, steps and averages, the first iteration included. It stands
   while samples are judged, every `--every` iterations.
7. A run ends at the bar, or at the config's last iteration: then it has failed, and is told so.
8. Seeds are 0, 1, 2, ...; each run is printed, none is dropped.
9. A record names the machine, the threads, torch and the commit, all of which are printed.
10. The peer is the textbook loop of `textbook.py`, judged by the same rules, with the recipe of `--peer-config`.
"""

import argparse
import hashlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bench
import torch
from textbook import new_generator, textbook
from torch import Tensor, nn

from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.data import Dataset
from wgan_cli.data.mnist import Mnist
from wgan_cli.devices import pick_device, set_precision, synchronise
from wgan_cli.errors import BadInputError
from wgan_cli.measures.classifier import trained_classifier
from wgan_cli.measures.fidelity import frechet
from wgan_cli.networks.base import in_batches
from wgan_cli.training.trainer import Trainer

FIRST_SEED, SAMPLES = 1_000_000, 10_000


class Judge:
    """The Fréchet distance of a generator's samples to real images, by the features of a classifier."""

    def __init__(self, features: nn.Module, images: Tensor, latents: Tensor) -> None:
        self._features, self._latents = features, latents
        self._real = in_batches(features, images)
        self.checksum = checksum(features)

    def distance(self, generator: nn.Module) -> float:
        parts = self._latents.split(1000)
        features = [in_batches(self._features, in_batches(generator, part)) for part in parts]
        return frechet(torch.cat(features), self._real)


def new_judge(dataset: Dataset, config: RunConfig, device: torch.device) -> Judge:
    """The judge of `wgan evaluate`, with the test split."""
    classifier, test = trained_classifier(dataset, config.data.kind, device), dataset.labelled(heldout=True)
    if classifier is None or test is None:
        raise BadInputError(f"{config.data.kind}: has no labels to judge by")
    return Judge(classifier.features, test[0], judged_latents(config).to(device))


def judged_latents(config: RunConfig) -> Tensor:
    return config.latent.from_seeds(range(FIRST_SEED, FIRST_SEED + SAMPLES))


def checksum(network: nn.Module) -> str:
    content = hashlib.md5(usedforsecurity=False)
    for name, value in sorted(network.state_dict().items()):
        content.update(name.encode() + value.cpu().numpy().tobytes())
    return content.hexdigest()[:12]


def timed(steps: Iterator[None], iterations: int, every: int, device: torch.device) -> Iterator[tuple[int, float]]:
    """The iteration, and the seconds of training so far, every so many iterations: the clock stands in between."""
    seconds = 0.0
    for done in range(0, iterations, every):
        count = min(every, iterations - done)
        begun = time.perf_counter()
        for _ in range(count):
            next(steps)
        synchronise(device)
        seconds += time.perf_counter() - begun
        yield done + count, seconds


def iterating(trainer: Trainer) -> Iterator[None]:
    while True:
        trainer.iterate()
        yield


def run(
    steps: Iterator[None],
    generator: Callable[[], nn.Module],
    config: RunConfig,
    judge: Judge,
    options: argparse.Namespace,
) -> float | None:
    """The seconds to the bar; None if it was not reached."""
    device = next(generator().parameters()).device
    for iteration, seconds in timed(steps, config.training.iterations, options.every, device):
        distance = judge.distance(generator())
        print(f"  iteration {iteration}: {seconds:.1f} s, Fréchet distance {distance:.2f}", flush=True)
        if distance <= options.bar:
            return seconds
    return None


def of_wgan(config: RunConfig, device: torch.device, options: argparse.Namespace) -> float | None:
    trainer = Trainer(config, device)
    bench.tune_for(trainer)
    judge = new_judge(trainer.dataset, config, device)
    print(f"wgan, seed {config.seed}, judge {judge.checksum}")
    return run(iterating(trainer), lambda: trainer.networks.sampler, config, judge, options)


def of_textbook(config: RunConfig, device: torch.device, options: argparse.Namespace) -> float | None:
    set_precision(config.training.matmul)  # as wgan's: by default, cuDNN's convolutions use TF32
    judge = new_judge(config.load_data(device), config, device)
    torch.manual_seed(config.seed)
    print(f"textbook, seed {config.seed}, judge {judge.checksum}")
    generator = new_generator(config, device)
    return run(textbook(config, device, generator), lambda: generator, config, judge, options)


def told(who: str, found: list[float | None], bar: float) -> None:
    reached = [seconds for seconds in found if seconds is not None]
    each = ", ".join("not reached" if seconds is None else f"{seconds:.0f} s" for seconds in found)
    middle = f"median {statistics.median(reached):.0f} s; " if len(reached) == len(found) else ""
    print(f"{who}, bar {bar:g}: {middle}{each}", flush=True)


def commit() -> str:
    found = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    return found.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--bar", type=float, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--every", type=int, default=250, help="iterations between judgements")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--peer", choices=["textbook"])
    parser.add_argument("--peer-config", default="mnist_notebook_gp")
    parser.add_argument("--peer-set", action="append", default=[], dest="peer_overrides")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = pick_device(options.device)
    configs = [load_config(options.config, [*options.overrides, f"seed={seed}"]) for seed in range(options.seeds)]
    print(f"{bench.machine(device)}, commit {commit()}")
    told("wgan", [of_wgan(config, device, options) for config in configs], options.bar)
    if options.peer:
        with tempfile.TemporaryDirectory() as folder:
            bench.unpack(Mnist(), Path(folder))  # torchvision's loader reads no others
            changes = [*options.peer_overrides, f"data.root={folder}"]
            peers = [load_config(options.peer_config, [*changes, f"seed={seed}"]) for seed in range(options.seeds)]
            told("textbook", [of_textbook(config, device, options) for config in peers], options.bar)


if __name__ == "__main__":
    main()
