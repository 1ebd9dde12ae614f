"""Signals that ask a run to stop: noted when they come, met when an iteration is done."""

import signal
from types import FrameType
from typing import Self

import torch

from wgan_cli.distributed import World


class Signals:
    """Notes a request to stop, to be met after the iteration; a second SIGINT ends the process at once."""

    CAUGHT = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in self.CAUGHT}
        return self

    def __exit__(self, *_: object) -> None:
        # Once asked to end, the process is about to: more of the same must not kill it on its way out.
        ignored = [] if self.received is None else [number for number in self.CAUGHT if number != signal.SIGINT]
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if number in ignored else handler)

    def agreed(self, world: World) -> signal.Signals | None:
        """What any of the ranks has received; all of them get the same answer."""
        if world.size == 1:
            return self.received
        number = int(world.largest(torch.tensor(self.received or 0)))
        return signal.Signals(number) if number else None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
