"""How an iteration is executed: step by step, compiled, or as one CUDA graph. The mathematics is the same.

`eager` runs each operation as it comes. `compile` traces the losses with all their gradients, the double backward
of the penalty included, into one graph of plain operations, and has torch's inductor make kernels of it. `graph`
captures a whole iteration once, all critic steps and the generator step, and replays it with one launch: these
networks are so small that a GPU otherwise waits for Python.
"""

import ctypes
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from wgan_cli.distributed import World
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.steps import Figures, Loss, Mathematics

Outcome = tuple[Figures, Tensor, Tensor]
"""Figures of an iteration, and the real and the fake batch of its last critic step."""


def pick_engine(name: str, device: torch.device, world: World) -> str:
    """The engine that `auto` stands for: graph on one GPU, else eager.

    Raises `BadInputError` where the one that was asked for can't be had.
    """
    can_capture = device.type == "cuda" and world.size == 1
    if name == "auto":
        return "graph" if can_capture else "eager"
    if name == "graph" and not can_capture:
        where = f"{world.size} ranks" if device.type == "cuda" else f"device {device.type}"
        raise BadInputError(f"training.engine: graph needs one GPU, but this is {where}; use auto or eager")
    return name


SMALL_WORK = 8_000_000
"""Samples times parameters of a step below which a second thread gains nothing, and costs much on a busy machine."""


def pick_threads(work: int, before: int | None = None) -> int:
    """How many threads a CPU is to use for steps of this much `work`: as many as there are cores that nobody uses.

    Threads wait for the slowest of them, so one that shares its core with another process slows all: two threads on
    two cores with one busy neighbour take 3.5 times as long as alone, one thread takes 1.5 times. $OMP_NUM_THREADS
    has the last word; but for it a run goes on with as many as `before`, since sums that are split in another way end
    in other bits. Where this process has only a part of the cores, they are its own.
    """
    threads = torch.get_num_threads()
    if "OMP_NUM_THREADS" in os.environ:
        return threads
    if before is not None:
        return before
    if work < SMALL_WORK:
        return 1
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < (os.cpu_count() or 1):
        return threads
    return max(1, threads - _busy_cores())


def _busy_cores() -> int:
    """How many other threads of this machine (Linux) run right now: the median of a few looks."""
    looks = []
    for _ in range(7):
        running = Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[0]
        looks.append(int(running) - 1)
        time.sleep(0.01)
    return int(statistics.median(looks))


def tune_process(matmul: str, threads: int) -> None:
    """Settings of this process that cost nothing and gain time, whatever the engine.

    glibc gives freed memory back to the kernel at once and maps large blocks anew each time: on the CPU a training
    step then spends its time in page faults. Elsewhere there is no `mallopt`, and nothing to set.
    """
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32 = matmul != "highest"
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # glibc's malloc.h
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_threshold, 2**30)


@dataclass(frozen=True)
class Compiled(Mathematics):
    """Losses and gradients compiled, updates as ever.

    Compiled at the first call, which takes some seconds, and half a minute where no kernels of an earlier run are
    cached.
    """

    compiled: dict[str, Callable[..., Any]] = field(default_factory=dict)

    def differentiate(self, network: nn.Module, loss: Loss, *others: Any) -> Figures:
        weights: list[Tensor] = list(network.parameters())
        fixed = [list(other.parameters()) if isinstance(other, nn.Module) else other for other in others]
        name = loss.__name__
        if name not in self.compiled:
            self.compiled[name] = _compiled(network, loss, others, weights, fixed)
        gradients, figures = self.compiled[name](weights, fixed)
        for weight, gradient in zip(weights, gradients, strict=True):
            if weight.grad is None:  # in the weight's own memory format: fused optimizers take it for granted
                weight.grad = torch.empty_like(weight)
            weight.grad.copy_(gradient)
        return figures


def _compiled(
    network: nn.Module, loss: Loss, others: Sequence[Any], weights: list[Tensor], fixed: list[Any]
) -> Callable[..., Any]:
    """A compiled function of weights and fixed tensors: the gradients of `loss(network, *others)`, and its figures.

    First traced into plain operations, since the compiler itself can't differentiate twice.
    """

    def function(weights: list[Tensor], fixed: list[Any]) -> tuple[tuple[Tensor, ...], Figures]:
        leaves = [weight.detach().requires_grad_() for weight in weights]
        called = [
            _with(other, tensors) if isinstance(other, nn.Module) else tensors
            for other, tensors in zip(others, fixed, strict=True)
        ]
        value, figures = loss(_with(network, leaves), *called)
        return torch.autograd.grad(value, leaves), figures

    detached = [weight.detach() for weight in weights]
    traced = make_fx(function, tracing_mode="fake")(detached, fixed)
    return torch.compile(traced, dynamic=False)


def _with(network: nn.Module, weights: Iterable[Tensor]) -> Callable[[Tensor], Tensor]:
    """The network as a function, with these weights in place of its own."""
    named = {name: weight for (name, _), weight in zip(network.named_parameters(), weights, strict=True)}
    return lambda inputs: functional_call(network, named, (inputs,))


class Graph:
    """An iteration as one CUDA graph: captured after a few that run as ever, and replayed from then on.

    What an iteration reads must stay where it is, and be changed in place: weights, moments, the learning rate, the
    drawn batches. So must what it returns: it is overwritten by the next replay. Random numbers come from `streams`,
    whose states advance with each replay as they would without.
    """

    WARM_UP = 3
    """Iterations on a side stream, in which libraries set themselves up and optimizers make their moments."""

    def __init__(self, iteration: Callable[[], Outcome], streams: Iterable[torch.Generator]) -> None:
        self._iteration, self._streams = iteration, list(streams)
        self._warm = 0
        self._captured: tuple[torch.cuda.CUDAGraph, Outcome] | None = None

    def __call__(self) -> Outcome:
        if self._warm < self.WARM_UP:
            self._warm += 1
            return self._aside()
        if self._captured is None:
            self._captured = self._capture()
        graph, outcome = self._captured
        graph.replay()
        return outcome

    def _aside(self) -> Outcome:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side), warnings.catch_warnings():
            # Optimizers that can be captured complain where they are not: they will be.
            warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")
            outcome = self._iteration()
        torch.cuda.current_stream().wait_stream(side)
        return outcome

    def _capture(self) -> tuple[torch.cuda.CUDAGraph, Outcome]:
        graph = torch.cuda.CUDAGraph()
        for stream in self._streams:
            graph.register_generator_state(stream)
        try:
            with torch.cuda.graph(graph):
                outcome = self._iteration()
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise WganError(f"training.engine: graph can't hold this iteration ({reason}); use eager") from error
        return graph, outcome
