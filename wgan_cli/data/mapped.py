"""How the system reads a memory-mapped file when its samples are gathered in random order."""

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
KNOWS_ADVICE = hasattr(mmap.mmap, "madvise")
"""Windows doesn't; there, samples are read one after another, with their neighbours."""


def read_no_further(array: Array) -> None:
    """Has the system read only the pages of the samples that are gathered from `array`, if it is memory-mapped.

    By itself it reads 128 KiB for each, many times a small sample, and drives others out of memory for it.
    """
    if KNOWS_ADVICE and isinstance(array.base, mmap.mmap):
        array.base.madvise(mmap.MADV_RANDOM)


def read_together(array: Array, rows: NDArray[np.int64]) -> None:
    """Has the system begin to read these rows (n,) of `array` all at once, if it is memory-mapped.

    Without it a row is read when it is touched, and the disk has one request at a time. Returns at once; a row that is
    touched before it is there is waited for.
    """
    if not (KNOWS_ADVICE and isinstance(array.base, mmap.mmap) and array.flags.c_contiguous):
        return
    first = array.ctypes.data - np.frombuffer(array.base, np.uint8).ctypes.data
    size = array.strides[0]
    for start in (first + rows * size).tolist():
        page = start - start % mmap.PAGESIZE
        array.base.madvise(mmap.MADV_WILLNEED, page, start + size - page)
