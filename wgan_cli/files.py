"""Files that are whole or not there, and files of torch's that are read without running what is in them."""

import io
import os
import pickle
import struct
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from wgan_cli.errors import BadInputError


def write_atomically(path: Path, content: bytes) -> None:
    """Writes aside, flushes file and folder to the disk, renames: at any instant, power cuts included, `path` is
    the old file or the whole new one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        flush_folder(path.parent)
    finally:
        with suppress(OSError):  # a full disk or a lost folder has been told of already
            aside.unlink(missing_ok=True)


def flush_folder(folder: Path) -> None:
    """Names that were given or taken in `folder` outlast a power cut from here on."""
    if os.name == "nt":
        return  # Windows opens no folders; it journals their names itself
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_plain(path: Path, content: bytes | None = None) -> Any:
    """What torch saved in `path`, on the CPU, where it is plain containers and tensors; nothing in it is run.

    `content` is what has been read of the file already. Raises `BadInputError` for any other file.
    """
    try:
        file = io.BytesIO(path.read_bytes() if content is None else content)
        if not zipfile.is_zipfile(file):  # torch would take anything else for a pickle
            raise BadInputError(f"{path}: truncated, damaged, or not a file of torch's")
        with zipfile.ZipFile(file) as archive:
            if archive.testzip() is not None:  # torch itself compares no checksums
                raise BadInputError(f"{path}: damaged: a part of it has another checksum than when it was written")
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadInputError(f"{path}: refused: holds more than plain tensors, so it may carry code") from error
    except OSError as error:
        raise BadInputError(f"{path}: can't be read ({error.strerror})") from error
    except (
        RuntimeError,
        EOFError,
        ValueError,
        LookupError,
        struct.error,
        zipfile.BadZipFile,
    ) as error:  # all seen on flipped bits
        raise BadInputError(f"{path}: truncated, damaged, or not a file of torch's") from error
