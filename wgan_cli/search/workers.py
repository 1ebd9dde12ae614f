"""The processes of a search: this one, and more beside it. Each trains one trial after the other."""

import logging
import multiprocessing
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from wgan_cli.config.run_config import RunConfig
from wgan_cli.devices import pick_device
from wgan_cli.errors import ExitCode, WganError
from wgan_cli.search.space import Space
from wgan_cli.search.study import Search
from wgan_cli.search.trials import try_one
from wgan_cli.trackers import check_trackers
from wgan_cli.training.signals import Signals

log = logging.getLogger("wgan.search")
POLL = 0.2
"""Seconds between two looks at the other processes."""


@dataclass(frozen=True)
class Work:
    """What a process of a search needs to know."""

    space: Space
    folder: Path
    trials: int
    device: str
    threads: int
    """Of the CPU, for this process."""
    number: int | None = None
    """Of this process among several; None if it is alone."""

    def do(self, must_stop: Callable[[], bool]) -> Search:
        """Trains trials until none is left to begin, or to take over. Raises `WganError`, with exit code 75 if it must
        stop before."""
        torch.set_num_threads(self.threads)
        device = pick_device(self.device, self.number)
        search = Search(self.folder, self.space, self.trials)
        while not must_stop():
            with ExitStack() as held:
                claim = search.claim(held)
                if claim is None:
                    return search
                try_one(search, claim, device, must_stop)
        raise _stopped()


def _stopped() -> WganError:
    return WganError("stopped, and saved; the same line with --resume goes on", ExitCode.STOPPED)


def _check_needs(config: RunConfig, device: str) -> None:
    """Raises `WganError`, before a folder is made, if what all trials need is missing: else each of them would fail."""
    pick_device(device)
    check_trackers(config)
    config.data.fetch()


def search_space(space: Space, folder: Path, trials: int, *, jobs: int, device: str, resume: bool) -> Search:
    """Trains the trials of a search by `jobs` processes, and returns it.

    With `resume`, a search in the folder goes on, also one at which other processes are still at work. Raises
    `WganError` for bad input, and with exit code 75 if a signal stopped it: the trials are saved then.
    """
    _check_needs(space.first, device)
    Search.begin(folder, space, resume=resume)
    threads = torch.get_num_threads()
    spawn = multiprocessing.get_context("spawn")
    share, numbers = max(1, threads // jobs), range(jobs) if jobs > 1 else [None]
    first, *beside = (Work(space, folder, trials, device, share, number) for number in numbers)
    others = [spawn.Process(target=_work_beside, args=(work,)) for work in beside]
    try:
        with Signals() as signals:
            for other in others:
                other.start()
            first.do(lambda: signals.received is not None)
            while any(other.is_alive() for other in others):
                if signals.received is not None:
                    raise _stopped()
                time.sleep(POLL)
            # Of trials whose process was killed after this one had found no more. All threads are free now.
            return replace(first, threads=threads).do(lambda: signals.received is not None)
    except WganError as error:
        raise _stopped() if error.exit_code == ExitCode.STOPPED else error from None
    finally:
        torch.set_num_threads(threads)
        started = [other for other in others if other.pid is not None]
        for other in started:
            other.terminate()  # it saves its trial; nothing happens to one that has ended
        for other in started:
            other.join()


def _work_beside(work: Work) -> None:
    """The life of a process beside the first one. It ends, with its trial saved, when the first one is gone."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("wgan: %(message)s"))
    logging.getLogger("wgan").handlers = [handler]
    logging.getLogger("wgan.search").setLevel(logging.INFO)
    first = multiprocessing.parent_process()
    assert first is not None
    try:
        with Signals() as signals:
            work.do(lambda: signals.received is not None or not first.is_alive())
    except WganError as error:
        if error.exit_code != ExitCode.STOPPED:
            log.error("%s", error)
        sys.exit(error.exit_code)
