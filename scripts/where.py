"""Splits the time of a training iteration on the CPU into its causes: what is the largest part, and what is left.

    python scripts/where.py --data FOLDER
    python scripts/where.py --case normal512_gp --set training.batch_size=1024

Cases are those of `bench.py`. The parts, in ms an iteration:

- products: every matrix product and convolution of the iteration, each timed alone at its own shapes;
- traffic: the bytes that all other operations read and write, at the bandwidth of copies of their mean size;
- optimizer: the steps of both optimizers, timed alone;
- dispatch: the number of operations, at the time of one on a single number;
- rest: the measured time less all of these: autograd's bookkeeping, Python, and what the parts miss.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bench import CASES, machine, rate, tune_for, unpack
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from wgan_cli.config.load import load_config
from wgan_cli.data.mnist import Mnist
from wgan_cli.training.trainer import Trainer

CPU = torch.device("cpu")
ROUNDS = 5
"""The whole and its parts are measured so often, in turn; of each, the fastest counts."""
PARTS = ("products", "traffic", "optimizer", "dispatch", "rest")


class Recorded(TorchDispatchMode):
    """Keeps one call of each product at each of its shapes, and counts the bytes and number of all other operations."""

    def __init__(self) -> None:
        super().__init__()
        self.products: dict[Any, Callable[[], Any]] = {}
        self.counts: Counter[Any] = Counter()
        self.operations, self.moved, self.sizes = 0, 0, []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func._schema.name.startswith("aten::_f"):  # fused and foreach updates: optimizers are timed apart
            return result
        self.operations += 1
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        if func.overloadpacket in flop_registry:
            key = (func, *((tuple(x.shape), x.stride(), x.dtype) for x in tensors))
            self.products.setdefault(key, lambda: func(*args, **kwargs))
            self.counts[key] += 1
        elif not func.is_view:
            bytes_moved = sum(x.numel() * x.element_size() for x in tensors)
            self.moved += bytes_moved
            self.sizes.append(bytes_moved)
        return result


@torch.no_grad()
def seconds(call: Callable[[], Any], least: float = 0.02) -> float:
    """Seconds of a call: the fastest of five rounds that take at least so long together."""
    call()
    begun = time.perf_counter()
    call()
    count = max(1, round(least / 5 / max(time.perf_counter() - begun, 1e-7)))
    rounds = []
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(count):
            call()
        rounds.append((time.perf_counter() - begun) / count)
    return min(rounds)


def parts(trainer: Trainer) -> tuple[dict[str, float], int]:
    """The seconds of each part of an iteration, and the number of its operations."""
    with Recorded() as recorded:
        trainer.iterate()
    products = sum(recorded.counts[key] * seconds(call) for key, call in recorded.products.items())
    size = max(1, round(recorded.moved / max(len(recorded.sizes), 1) / 8))  # float32 values, read once, written once
    source, target = torch.zeros(size), torch.zeros(size)
    traffic = recorded.moved / (8 * size) * max(seconds(lambda: target.copy_(source)) - empty(), 1e-9)
    critic, generator = (seconds(trainer.optimizers[name].step) for name in ("critic", "generator"))
    found = {
        "products": products,
        "traffic": traffic,
        "optimizer": trainer.config.training.n_critic * critic + generator,
        "dispatch": recorded.operations * empty(),
    }
    return found, recorded.operations


def empty() -> float:
    """Seconds of an operation on a single number."""
    one, other = torch.zeros(1), torch.zeros(1)
    return seconds(lambda: other.copy_(one))


def row(case: str, more: list[str]) -> str:
    name, changes = CASES[case]
    trainer = Trainer(load_config(name, [*changes, *more, "training.engine=eager"]), CPU)
    tune_for(trainer)
    totals, rounds = [], []
    for _ in range(ROUNDS):  # in turn, as the machine's speed varies
        totals.append(1 / rate(trainer.iterate, CPU, 1.0))
        found, operations = parts(trainer)
        rounds.append(found)
    total = min(totals)
    found = {part: min(found[part] for found in rounds) for part in rounds[0]}
    found["rest"] = total - sum(found.values())
    shown = [f"{1e3 * found[part]:.2f} ({found[part] / total:.0%})" for part in PARTS]
    return "| " + " | ".join([case, f"{1e3 * total:.2f}", *shown, str(operations)]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=CASES, metavar="CASE", help="may be given again")
    parser.add_argument("--data", help="the folder above MNIST/raw")
    parser.add_argument("--set", action="append", default=[], help="a change to every case, as for wgan train")
    options = parser.parse_args()
    print(machine(CPU), file=sys.stderr, flush=True)
    print("| case | ms an iteration | " + " | ".join(PARTS) + " | operations |")
    print("|---" * (len(PARTS) + 3) + "|")
    with tempfile.TemporaryDirectory() as folder:
        unpack(Mnist(root=options.data), Path(folder))
        os.environ["WGAN_DATA"] = folder
        for case in options.case or CASES:
            print(row(case, options.set), flush=True)


if __name__ == "__main__":
    main()
