"""Signals that ask a run to stop. They are recorded when they arrive, and handled after the iteration."""

import signal
from types import FrameType
from typing import Self

import torch

from wgan_cli.training.distributed import World


class Signals:
    """Records a request to stop, which the loop reads after the iteration. A second SIGINT ends the process at once."""

    CAUGHT = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._record) for number in self.CAUGHT}
        return self

    def __exit__(self, *_: object) -> None:
        # After a request to stop, the process is about to end. Repeated signals must not kill it while it saves.
        ignored = [] if self.received is None else [number for number in self.CAUGHT if number != signal.SIGINT]
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if number in ignored else handler)

    def on_any_rank(self, world: World) -> signal.Signals | None:
        """The signal that any rank has received, or None. The result is the same on every rank."""
        if world.size == 1:
            return self.received
        number = int(world.largest(torch.tensor(self.received or 0)))
        return signal.Signals(number) if number else None

    def _record(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
