"""LeCun's idx files, gzipped or not."""

import gzip
import hashlib
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wgan_cli.errors import BadInputError

REMEDY = "delete it to have it downloaded again, or put a good copy there"


@dataclass(frozen=True)
class Checksum:
    """MD5 of the published gzip file, and of its content where that is known."""

    gzipped: str
    content: str | None = None


def read_idx(path: Path, checksum: Checksum) -> Tensor:
    """One idx file of unsigned bytes (big-endian sizes, then the bytes): uint8 of the file's shape, on the CPU.

    A name that ends in .gz is a gzip file. Raises `BadInputError` for a file that is not whole, or has another
    checksum.
    """
    is_gzip = path.suffix == ".gz"
    expected = checksum.gzipped if is_gzip else checksum.content
    try:
        raw = path.read_bytes()
        if expected is not None and hashlib.md5(raw, usedforsecurity=False).hexdigest() != expected:
            raise BadInputError(f"{path}: wrong checksum, so it is truncated or changed: {REMEDY}")
        content = bytearray(gzip.decompress(raw) if is_gzip else raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInputError(f"{path}: not a whole gzip file ({error}): {REMEDY}") from error
    except OSError as error:
        raise BadInputError(f"{path}: can't be read ({error.strerror})") from error
    dimensions = content[3] if len(content) >= 4 and content[:3] == b"\x00\x00\x08" else 0
    start = 4 + 4 * dimensions
    sizes = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    if not dimensions or len(content) != start + math.prod(sizes):
        raise BadInputError(f"{path}: not a whole idx file of unsigned bytes: {REMEDY}")
    return torch.frombuffer(content, dtype=torch.uint8, offset=start).reshape(sizes)
