import os
import signal
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from wgan_cli.training.distributed import ALONE, World
from wgan_cli.training.signals import Signals


@pytest.fixture(autouse=True)
def restored_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in Signals.CAUGHT}
    yield
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


def test_a_process_that_is_ending_ignores_repeated_signals() -> None:
    at_first = signal.getsignal(signal.SIGINT)
    with Signals():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) == at_first  # a user's Ctrl-C still ends it
    os.kill(os.getpid(), signal.SIGTERM)


class Ranks(World):
    """Two ranks, the other of which has received SIGTERM."""

    def largest(self, values: Tensor) -> Tensor:
        return values.maximum(torch.tensor(int(signal.SIGTERM)))


def test_a_signal_to_another_rank_counts_here() -> None:
    with Signals() as signals:
        assert signals.on_any_rank(Ranks(0, 2)) == signal.SIGTERM
        assert signals.received is None
