"""Signals that ask a run to stop. They are recorded when they arrive, and handled after the iteration."""

import signal
import threading
from types import FrameType
from typing import Self

import torch

from wgan_cli.errors import ExitCode, WganError
from wgan_cli.training.distributed import World


class Signals:
    """Records a request to stop, which the loop reads after the iteration. A second SIGINT ends the process at once.

    A request that came too late to stop anything is handed on, at the end of the context, to who handled it before: to
    another `Signals`, as that of a search, or to Python, which raises `KeyboardInterrupt` in a notebook.
    """

    CAUGHT = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))

    def __init__(self, *, process_ends: bool = False) -> None:
        """`process_ends` says that the process ends after the run: signals other than SIGINT are ignored from then on,
        so that a late one can't replace its exit code, which says whether the state was saved. None is handed on."""
        self.received: signal.Signals | None = None
        self._process_ends = process_ends

    def __enter__(self) -> Self:
        in_main_thread = threading.current_thread() is threading.main_thread()  # no other may set handlers
        caught = self.CAUGHT if in_main_thread else ()
        self._before = {number: signal.signal(number, self._record) for number in caught}
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        for number, handler in self._before.items():
            is_ignored = self._process_ends and number != signal.SIGINT
            signal.signal(number, signal.SIG_IGN if is_ignored else handler)
        if self.received is not None and not self._process_ends and not _is_stop(error):
            signal.raise_signal(self.received)

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


def _is_stop(error: BaseException | None) -> bool:
    stopped = isinstance(error, WganError) and error.exit_code == ExitCode.STOPPED
    return stopped or isinstance(error, KeyboardInterrupt)
