"""Samples that do not fit the device: a background thread gathers their batches, two iterations ahead."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from wgan_cli.data.base import Batches

Gather = Callable[[Tensor], Tensor]
"""Of indices (n,): these samples (n, *shape) on the CPU, as networks train on them. Runs on a thread."""
AHEAD = 2


class StreamedPasses(Batches):
    """Passes over `count` samples, each in a new order; the remainder at the end of a pass is dropped.

    The order is the one that samples on the device would have, so `resident` never changes a result. The state is
    that of the batches taken, whatever has been gathered ahead.
    """

    def __init__(self, gather: Gather, count: int, batch_size: int, generator: torch.Generator, share: slice) -> None:
        """Batches come to the device of `generator`."""
        self._gather, self._count, self._batch_size, self._share = gather, count, batch_size, share
        self._generator, self._device = generator, generator.device
        self._lookahead = torch.Generator(self._device)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="data")
        size = len(range(*share.indices(batch_size)))
        sample = gather(torch.zeros(1, dtype=torch.long))
        self._shape, self._dtype = (size, *sample.shape[1:]), sample.dtype
        self._buffers: list[Tensor] = []
        self._chosen: list[Tensor] = []
        self._begin(generator.get_state(), 0)

    def _begin(self, pass_state: Tensor, position: int) -> None:
        """Starts at `position` of the pass whose order `pass_state` draws, and forgets what was gathered ahead."""
        self._lookahead.set_state(pass_state)
        self._begin_pass()
        self._generator.set_state(self._lookahead.get_state())
        self._next = position
        self._taken = self._pass_state, position
        self._waiting: list[tuple[Future[Tensor], Tensor, tuple[Tensor, int], Tensor]] = []

    def _begin_pass(self) -> None:
        self._pass_state = self._lookahead.get_state()
        self._order = torch.randperm(self._count, generator=self._lookahead, device=self._device).cpu()
        self._next = 0

    def _gather_ahead(self) -> None:
        """Has the thread gather the next batch."""
        if self._next + self._batch_size > self._count:
            self._begin_pass()
        chosen = self._order[self._next : self._next + self._batch_size][self._share]
        self._next += self._batch_size
        after = self._pass_state, self._next
        batch = self._thread.submit(self._gathered, chosen)
        self._waiting.append((batch, chosen, after, self._lookahead.get_state()))

    def _gathered(self, chosen: Tensor) -> Tensor:
        batch = self._gather(chosen)
        return batch.pin_memory() if self._device.type == "cuda" else batch

    def draw(self, count: int) -> None:
        while len(self._buffers) < count:
            self._buffers.append(torch.empty(self._shape, dtype=self._dtype, device=self._device))
            self._chosen.append(torch.empty(self._shape[0], dtype=torch.long, device=self._device))
        while len(self._waiting) < (AHEAD + 1) * count:
            self._gather_ahead()
        for buffer, indices in zip(
            self._buffers[:count], self._chosen, strict=False
        ):  # in place: a CUDA graph reads them
            batch, chosen, self._taken, generator_state = self._waiting.pop(0)
            buffer.copy_(batch.result(), non_blocking=True)
            indices.copy_(chosen, non_blocking=True)
            self._generator.set_state(generator_state)

    def take(self, number: int) -> Tensor:
        return self._buffers[number]

    def chosen(self, number: int) -> Tensor:
        return self._chosen[number]

    def state_dict(self) -> dict[str, Any]:
        pass_state, position = self._taken
        return {"pass": pass_state, "position": position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._begin(state["pass"].cpu(), state["position"])
