"""Progress of what takes long: a bar on a terminal, lines in the log elsewhere."""

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

log = logging.getLogger("wgan")
Item = TypeVar("Item")
EVERY = 10.0
"""Seconds between two lines. What takes less has none."""


def tracked(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """The items, while a bar named `what` or lines show how many are done. `total` is for items without a length."""
    bar = tqdm(items, what, total, disable=None)
    yield from _with_lines(bar, what) if bar.disable else bar


def _with_lines(bar: "tqdm[Item]", what: str) -> Iterator[Item]:
    begun = last = time.monotonic()
    for done, item in enumerate(bar):
        now = time.monotonic()
        if now - last >= EVERY and done:
            last = now
            log.info("%s: %s", what, _state(done, bar.total, now - begun))
        yield item


def _state(done: int, total: int | None, spent: float) -> str:
    return f"{done}" if total is None else f"{done} of {total}, {in_words((total - done) * spent / done)} left"


def in_words(seconds: float) -> str:
    """A time as a bar shows it: 01:30, or 2:01:30."""
    return tqdm.format_interval(seconds)
