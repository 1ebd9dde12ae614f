"""One rank of a job, started by the tests of `distributed`: trains each case in float64 and saves its weights.

    python -m tests.rank_worker FOLDER MNIST [STATE]

With STATE, the folder of another job, it goes on from the middle of that job's runs.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from wgan_cli.config import RunConfig, load_config
from wgan_cli.distributed import find_world, joined
from wgan_cli.trainer import Trainer

ITERATIONS = 50
SMALL = ("training.batch_size=12", "training.n_critic=2", "training.average=0.9", "latent.dim=4")


def cases(mnist: str) -> Iterator[tuple[str, RunConfig]]:
    for strategy in ("{kind: gp, weight: 10.0}", "{kind: gp, weight: 1.0, sided: one}", "{kind: clip, bound: 0.05}"):
        lipschitz = f"lipschitz={strategy}"
        mlp = ("generator.hidden=[8]", "critic.hidden=[8, 8]", "critic.norm=layer", lipschitz)
        yield f"mlp {strategy}", load_config("normal_gp", [*SMALL, *mlp])
        conv = ("generator.width=4", "critic.width=2", lipschitz, f"data.root={mnist}", "data.checksums=false")
        yield f"conv {strategy}", load_config("mnist_gp", [*SMALL, *conv])


def main() -> None:
    folder, mnist, *state = sys.argv[1:]
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    world = find_world()
    with joined(world, torch.device("cpu")):
        for i, (_, config) in enumerate(cases(mnist)):
            trainer = Trainer(config, torch.device("cpu"), world)
            if state:
                trainer.load_state_dict(torch.load(Path(state[0]) / f"{i}.middle.pt"))
            while trainer.step < ITERATIONS:
                trainer.iterate()
                if world.is_first and trainer.step == ITERATIONS // 2:
                    torch.save({**trainer.state_dict(), "step": trainer.step}, Path(folder) / f"{i}.middle.pt")
            if world.is_first:
                weights = {name: network.state_dict() for name, network in trainer.networks.items()}
                torch.save(weights, Path(folder) / f"{i}.pt")


if __name__ == "__main__":
    main()
