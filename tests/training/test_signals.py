import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
import torch
from torch import Tensor

from wgan_cli.errors import ExitCode, WganError
from wgan_cli.training.distributed import ALONE, World
from wgan_cli.training.signals import Signals


@pytest.fixture(autouse=True)
def handed_on() -> Iterator[list[int]]:
    """The signals that reach the handlers of before. These end no process here, and are put back."""
    before = {number: signal.getsignal(number) for number in Signals.CAUGHT}
    reached: list[int] = []
    for number in before:
        signal.signal(number, lambda number, _: reached.append(number))
    yield reached
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in Signals.CAUGHT]


@pytest.mark.parametrize("number", Signals.CAUGHT)
def test_a_signal_is_recorded_and_ends_nothing(number: signal.Signals) -> None:
    with Signals() as signals:
        assert signals.on_any_rank(ALONE) is None
        os.kill(os.getpid(), number)
        assert signals.received == number
        assert signals.on_any_rank(ALONE) == number


def test_a_second_sigint_ends_the_process_at_once() -> None:
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_second_sigterm_does_not_disturb_saving() -> None:
    with Signals() as signals:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == signal.SIGTERM


def test_handlers_are_put_back() -> None:
    before = handlers()
    with Signals():
        assert all(one is not other for one, other in zip(handlers(), before, strict=True))
    assert handlers() == before


STOPPED = WganError("stopped", ExitCode.STOPPED)


@pytest.mark.parametrize(("error", "is_served"), [(None, False), (WganError("failed"), False), (STOPPED, True)])
def test_a_signal_that_stopped_nothing_is_handed_on(
    handed_on: list[int], error: WganError | None, is_served: bool
) -> None:
    before = handlers()
    with suppress(WganError), Signals():
        os.kill(os.getpid(), signal.SIGTERM)
        if error:
            raise error
    assert handlers() == before
    assert handed_on == ([] if is_served else [signal.SIGTERM])


def test_a_search_has_the_signal_that_its_trial_did_not_serve() -> None:
    with Signals() as outer:
        with Signals():
            os.kill(os.getpid(), signal.SIGTERM)
        assert outer.received == signal.SIGTERM


@pytest.mark.parametrize("was_stopped", [False, True])
def test_a_process_that_ends_ignores_late_signals(handed_on: list[int], was_stopped: bool) -> None:
    at_first = signal.getsignal(signal.SIGINT)
    with Signals(process_ends=True):
        if was_stopped:
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) == at_first  # a user's Ctrl-C still ends it
    os.kill(os.getpid(), signal.SIGTERM)
    assert handed_on == []


def test_outside_the_main_thread_no_signal_is_caught() -> None:
    """Python lets no other thread set handlers; a run there is stopped by other means."""
    seen: list[list[object]] = []

    def run() -> None:
        with Signals() as signals:
            seen.append([*handlers(), signals.received])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [[*handlers(), None]]


class Ranks(World):
    """Two ranks, the other of which has received SIGTERM."""

    def largest(self, values: Tensor) -> Tensor:
        return values.maximum(torch.tensor(int(signal.SIGTERM)))


def test_a_signal_to_another_rank_counts_here() -> None:
    with Signals() as signals:
        assert signals.on_any_rank(Ranks(0, 2)) == signal.SIGTERM
        assert signals.received is None
