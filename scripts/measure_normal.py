"""Measures trained generators against their normal target: exact W1 of 20,000 values, for each config and seed.

    python scripts/measure_normal.py normal_gp normal_clip --seeds 10

Each run goes through `wgan train` into a folder that is removed again. Prints one row a config, with the floor:
the same figure for 20,000 values drawn from the target itself. `--set` applies to every run.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from wgan_cli.config.load import load_config
from wgan_cli.devices import pick_device
from wgan_cli.runs.loaded import load_run
from wgan_cli.training.loop import train_run
from wgan_cli.transport import wasserstein_1d_normal

VALUES = 20_000
FIRST_SEED = 1_000_000  # latents that no grid has shown


def w1_of_run(name: str, overrides: list[str], device: torch.device) -> float:
    """Trains the config and returns the exact W1 of its samples' values to the target."""
    config = load_config(name, overrides)
    with tempfile.TemporaryDirectory() as folder:
        path = train_run(config, device, out=Path(folder) / "run", name=name)
        loaded = load_run(str(path), device)
    count = -(-VALUES // config.data.features)
    values = loaded.sample(range(FIRST_SEED, FIRST_SEED + count)).flatten()[:VALUES].double().cpu()
    return wasserstein_1d_normal(values, config.data.mean, config.data.std).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = pick_device(arguments.device)
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(20, VALUES, dtype=torch.float64, generator=generator)
    floor = wasserstein_1d_normal(draws, 0.0, 1.0)
    print(f"floor of {VALUES:,} values: median {floor.median():.4f}, worst of 20 {floor.max():.4f}")
    for name in arguments.configs:
        start = time.perf_counter()
        distances = [w1_of_run(name, [*arguments.overrides, f"seed={s}"], device) for s in range(arguments.seeds)]
        spent = (time.perf_counter() - start) / arguments.seeds
        each = " ".join(f"{distance:.4f}" for distance in distances)
        median, worst = statistics.median(distances), max(distances)
        print(f"{name}: W1 median {median:.4f}, worst {worst:.4f}, {spent:.0f} s a run; seeds 0..: {each}", flush=True)


if __name__ == "__main__":
    main()
