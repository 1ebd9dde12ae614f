"""Jobs of several ranks, started by the tests of `distributed`: each trains every case in float64.

    python -m tests.rank_worker FOLDER MNIST

Two ranks leave their weights in FOLDER/2, three in FOLDER/3; the three also go on from the middle of what the two
trained. The ranks are forked from this process, so that torch is imported once.
"""

import os
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch._dynamo  # the first optimizer imports it

from tests.helpers import made_up_checksums
from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.data.mnist import Mnist
from wgan_cli.lipschitz import GradientPenalty, Spectral
from wgan_cli.training.distributed import World, find_world, joined
from wgan_cli.training.trainer import Trainer

ITERATIONS = 20
CPU = torch.device("cpu")
SMALL = ("training.batch_size=12", "training.n_critic=2", "training.average=0.9", "latent.dim=4")
STRATEGIES = ("{kind: gp, weight: 10.0}", "{kind: gp, weight: 1.0, sided: one}", "{kind: clip, bound: 0.05}")


def cases(mnist: Path) -> Iterator[tuple[str, RunConfig]]:
    """Names and configs: the package's strategies on networks of both kinds, relativistic pairs, and
    conditions of both kinds, one of data that is streamed."""
    mlp = ("normal_gp", (*SMALL, "generator.hidden=[8]", "critic.hidden=[8, 8]", "critic.norm=layer"))
    conv = (
        "mnist_gp",
        (
            *SMALL,
            "generator={kind: conv, channels: [4, 2, 1]}",
            "critic={kind: conv, channels: [2, 4]}",
            f"data.root={mnist}",
        ),
    )
    for strategy in STRATEGIES:
        for name, changes in (mlp, conv):
            yield f"{name} {strategy}", load_config(name, [*changes, f"lipschitz={strategy}"])
    name, changes = mlp
    for lipschitz in (GradientPenalty(points="noise"), Spectral()):
        yield f"{name} {lipschitz}", load_config(name, changes).model_copy(update={"lipschitz": lipschitz})
    yield f"{name} mcshane", load_config(name, [*changes[:-2], "critic={kind: mcshane}", "lipschitz={kind: none}"])
    sorting = ("lipschitz={kind: orthogonal}", "critic.activation=maxmin")
    yield f"{name} orthogonal", load_config(name, [*changes[:-1], *sorting])
    yield f"{conv[0]} orthogonal", load_config(conv[0], [*conv[1], *sorting, "critic.kernel=2"])
    r3gan = ("objective={kind: relativistic}", "lipschitz={kind: r1, weight: 1.0, fake_weight: 1.0}")
    yield f"{name} relativistic", load_config(name, [*changes, *r3gan])
    yield "classes", load_config(conv[0], [*conv[1], "condition={kind: labels}"])
    table = mnist / "table.csv"
    if not table.exists():
        rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).tolist()
        table.write_text("\n".join(["x,y,z", *(",".join(map(str, row)) for row in rows)]))
    data = (f"data={{kind: arrays, path: {table}, resident: false}}", "condition={kind: columns, names: [y]}")
    yield "given columns, streamed", load_config(name, [*changes, *data])


def train_cases(folder: Path, mnist: Path, world: World, states: Path | None = None) -> None:
    """Trains each case. The first rank saves the weights of case i in `folder/i.pt`, and the middle of its training in
    `folder/i.middle.pt`; with `states`, the weights after going on from there in `folder/i.resumed.pt`."""
    for i, (_, config) in enumerate(cases(mnist)):
        trainer = Trainer(config, CPU, world)
        while trainer.step < ITERATIONS:
            trainer.iterate()
            if world.is_first and trainer.step == ITERATIONS // 2:
                torch.save(trainer.state_dict(), folder / f"{i}.middle.pt")
        if world.is_first:
            _save_weights(trainer, folder / f"{i}.pt")
        if states is not None:
            trainer = Trainer(config, CPU, world)
            trainer.load_state_dict(torch.load(states / f"{i}.middle.pt"))
            while trainer.step < ITERATIONS:
                trainer.iterate()
            if world.is_first:
                _save_weights(trainer, folder / f"{i}.resumed.pt")


def _save_weights(trainer: Trainer, path: Path) -> None:
    torch.save({name: network.state_dict() for name, network in trainer.networks.named().items()}, path)


def _fork_ranks(size: int, action: Callable[[World], None]) -> None:
    """Runs `action` on each of `size` ranks. Raises SystemExit if one fails."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(probe.getsockname()[1])}
    processes = [os.fork() or _run_rank(rank, size, action) for rank in range(size)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    if any(codes):
        sys.exit(f"exit codes of {size} ranks: {codes}")


def _run_rank(rank: int, size: int, action: Callable[[World], None]) -> int:
    """Runs `action` in this process, as one rank, and ends the process."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
    try:
        world = find_world()
        with joined(world, CPU):
            action(world)
    except BaseException:  # noqa: BLE001  # as Python itself would print it
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    folder, mnist = map(Path, sys.argv[1:])
    Mnist.checksums = made_up_checksums(mnist)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    two, three = folder / "2", folder / "3"
    two.mkdir()
    three.mkdir()
    _fork_ranks(2, lambda world: train_cases(two, mnist, world))
    _fork_ranks(3, lambda world: train_cases(three, mnist, world, states=two))


if __name__ == "__main__":
    main()
