"""Several files of samples as one array, read as it is needed."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wgan_cli.data.mapped import read_together
from wgan_cli.data.sample_files import SampleFile, open_samples
from wgan_cli.data.scaling import check_finite
from wgan_cli.errors import BadInputError, WganError

Array = NDArray[Any]
Layout = Literal["first", "last", "none"]
"""Where the channels of a sample are; `none`: it has one, without an axis of its own."""
CHUNK = 1 << 24
"""Values that are read at once."""


@dataclass(frozen=True)
class SampleFiles:
    """Arrays of several files as one: samples (N, ...) with their channels first."""

    opened: tuple[SampleFile, ...]
    stamps: tuple[tuple[int, ...], ...]
    """Of each file what changes when it does."""
    channels: Layout
    names: tuple[str, ...] | None

    @staticmethod
    def open(
        paths: Sequence[Path],
        key: str | None,
        channels: Layout,
        like: "SampleFiles | None" = None,
        drop: Collection[str] = (),
    ) -> "SampleFiles":
        """The files at `paths`, with samples as those of `like`: of one shape, and with columns in one order.

        The columns `drop` of tables are left out.
        """
        stamps = tuple(map(_stamp, paths))
        opened = [open_samples(path, key, lambda name: name not in drop) for path in paths]
        known = [*(like.opened if like else ()), *opened]
        for one in opened:
            if one.sample != known[0].sample:
                shapes = f"{one.sample}, those of {known[0].path} {known[0].sample}"
                raise BadInputError(f"{one.path}: its samples have shape {shapes}; one run needs samples of one shape")
        named = next((one for one in known if one.names), known[0])
        return SampleFiles(tuple(one.in_order_of(named) for one in opened), stamps, channels, named.names)

    @cached_property
    def arrays(self) -> tuple[Array, ...]:
        return tuple(one.values for one in self.opened)

    def __len__(self) -> int:
        return sum(map(len, self.arrays))

    @property
    def sample(self) -> tuple[int, ...]:
        """The shape of one sample as the files have it."""
        return self.opened[0].sample

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.result_type(*self.arrays)

    @cached_property
    def types(self) -> list[str] | None:
        """The types of the columns, each of which holds all files' values; None if that of all columns is one."""
        if not any(one.types for one in self.opened):
            return None
        by_file = [one.types or (one.values.dtype.name,) * math.prod(self.sample) for one in self.opened]
        types = [np.result_type(*column).name for column in zip(*by_file, strict=True)]
        return types if len(set(types)) > 1 else None

    @cached_property
    def starts(self) -> Array:
        return np.cumsum([0, *map(len, self.arrays)])

    def rows(self, chosen: Array) -> Array:
        """The samples (n, C, ...) of these indices (n,)."""
        if len(self.arrays) == 1:
            return self._channels_first(self.arrays[0][chosen])
        values = np.empty((len(chosen), *self.sample), self.dtype)
        for array, where, rows in self._by_file(chosen):
            values[where] = array[rows].reshape(-1, *self.sample)
        return self._channels_first(values)

    def read_together(self, chosen: Array) -> None:
        """Has the system begin to read the samples of these indices (n,)."""
        for array, _, rows in self._by_file(chosen):
            read_together(array, rows)

    def _by_file(self, chosen: Array) -> Iterator[tuple[Array, Array, Array]]:
        """Of each file that has some of these indices (n,): its array, which of them (n,), and their rows in it."""
        file = np.searchsorted(self.starts, chosen, side="right") - 1
        for i in np.unique(file):
            yield self.arrays[i], file == i, chosen[file == i] - self.starts[i]

    def chunks(self, digest: Callable[[memoryview], object] = lambda _: None) -> Iterator[Array]:
        """All samples (n, C, ...), some at a time; `digest` gets their bytes. Raises `BadInputError` at a value that
        is not finite."""
        step = max(1, CHUNK // math.prod(self.sample))
        for one in self.opened:
            for start in range(0, len(one.values), step):
                chunk = self._channels_first(np.asarray(one.values[start : start + step]))
                check_finite(chunk, start, str(one.path), self.names)
                digest(np.ascontiguousarray(chunk).data)
                yield chunk

    def check(self) -> None:
        """Raises `BadInputError` at a value that is not finite."""
        for _ in self.chunks():
            pass

    def check_unchanged(self) -> None:
        """Raises `WganError` if a memory-mapped file is no longer the one that was opened; a shorter one would kill the
        process."""
        for one, stamp in zip(self.opened, self.stamps, strict=True):
            if isinstance(one.values, np.memmap) and _stamp(one.path) != stamp:
                raise WganError(f"{one.path}: has changed while the run trained on it; the last checkpoint is kept")

    def _channels_first(self, values: Array) -> Array:
        if values.ndim == 1 or self.channels == "none":
            return values[:, None]
        return np.moveaxis(values, -1, 1) if self.channels == "last" and values.ndim > 2 else values


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when a file does; empty if there is none."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns
