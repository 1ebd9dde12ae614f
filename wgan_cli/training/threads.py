"""The number of CPU threads of a run: the fastest, by a few of its own iterations."""

import copy
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from wgan_cli.training.distributed import World
from wgan_cli.training.steps import backward
from wgan_cli.training.trainer import Trainer

ROUNDS, SECONDS = 4, 0.03
"""Each number of threads is timed by the fastest of so many blocks, which take about so many seconds each."""
LONG = 0.5
"""An iteration that takes more seconds is timed once."""
GAIN = 0.9
"""More threads are taken if an iteration then takes at most this share of its time: where they gain less, they would
cost more as soon as another process wants a core."""


def pick_threads(trainer: Trainer, previous: int | None = None) -> int:
    """The number of CPU threads with which the trainer's iterations are fast. The trainer stays as it was.

    All threads wait for the slowest one: if one of two cores is busy, two threads take 3.5 times as long as on free
    cores, and one thread takes 1.5 times as long. Where a step is small, threads wait for each other more than they
    compute. $OMP_NUM_THREADS overrides the choice. A resumed run keeps its first number of threads (`previous`),
    because another number splits sums differently and changes their last bits. The first rank decides for all.
    """
    world, own = trainer.world, torch.get_num_threads()
    is_given, most = world.on_first_rank(lambda: ("OMP_NUM_THREADS" in os.environ, own))
    if is_given:
        return own
    if previous is not None:
        return previous
    if trainer.device.type != "cpu" or most == 1:
        return own
    with _rehearsal(trainer):
        return fastest(trainer.iterate, most, world)


@contextmanager
def _rehearsal(trainer: Trainer) -> Iterator[None]:
    """Iterations inside the context leave no trace: not in the trainer, nor in this process's number of threads."""
    state, steps, threads = copy.deepcopy(trainer.state_dict()), trainer.steps, torch.get_num_threads()
    trainer.steps = replace(steps, differentiate=backward)  # compiled kernels are for one number of threads
    try:
        yield
    finally:
        trainer.steps = steps
        trainer.load_state_dict(state)
        torch.set_num_threads(threads)


def fastest(iterate: Callable[[], object], most: int, world: World) -> int:
    """The first of 1, 2, 4, ... and `most` threads of which the next gains less than `GAIN` says."""
    threads = 1
    torch.set_num_threads(threads)
    iterate()  # makes the optimizers' moments, and imports what they need
    while threads < most:
        more = min(2 * threads, most)
        took, takes = _in_turn(iterate, (threads, more), world)
        if takes > GAIN * took:
            break
        threads = more
    return threads


def _in_turn(iterate: Callable[[], object], numbers: tuple[int, int], world: World) -> list[float]:
    """The least time of an iteration with each number of threads, by blocks in turn: what disturbs one of them for a
    moment disturbs both."""
    best = [math.inf, math.inf]
    for _ in range(ROUNDS):
        for i, number in enumerate(numbers):
            torch.set_num_threads(number)
            best[i] = min(best[i], _seconds(iterate, world))
        if max(best) > LONG:
            break
    return best


def _seconds(iterate: Callable[[], object], world: World) -> float:
    """The time of an iteration, on the first rank. All ranks do equally many, because they wait for each other."""

    def timed(count: int) -> float:
        begun = time.perf_counter()
        for _ in range(count):
            iterate()
        took = (time.perf_counter() - begun) / count
        return world.on_first_rank(lambda: took)

    first = timed(1)
    return first if first > SECONDS else min(first, timed(math.ceil(SECONDS / first)))
