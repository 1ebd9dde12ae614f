"""Files: made and taken back, written whole or not at all, locked, and read without running code in them."""

import errno
import io
import os
import pickle
import re
import secrets
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from wgan_cli.errors import BadInputError


class Creations:
    """Makes folders and files, and can remove the ones that it made. What was there before is never touched."""

    def __init__(self) -> None:
        self._made: list[tuple[Path, tuple[int, int]]] = []

    def folder(self, path: Path) -> Path:
        """Makes the folder `path` and the missing folders above it. Raises `OSError` where it can't."""
        missing = [path, *path.parents]
        while missing and missing[-1].is_dir():
            missing.pop()
        for folder in reversed(missing):
            try:
                folder.mkdir()
            except FileExistsError:
                if not folder.is_dir():  # a file, a link to nowhere, a device
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
            else:
                self._note(folder)
        return path

    def new_folder(self, path: Path) -> Path:
        """Makes the folder `path` alone. Raises `FileExistsError` where something is there already."""
        path.mkdir()
        self._note(path)
        return path

    def empty_file(self, path: Path) -> Path:
        """Makes `path` an empty file where nothing is there; leaves what is there as it is."""
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            self._note(path)
        return path

    def _note(self, path: Path) -> None:
        self._made.append((path, _identity(path)))

    def take_back(self) -> None:
        """Removes what was made, newest first. Folders that hold something by now, and files that somebody has
        replaced or written to, stay."""
        for path, identity in reversed(self._made):
            with suppress(OSError):  # gone already, or no longer empty
                if _identity(path) != identity:
                    continue
                if path.is_dir():
                    path.rmdir()
                elif not path.stat().st_size:
                    path.unlink()
        self.keep()

    def keep(self) -> None:
        """Nothing that was made so far will be removed."""
        self._made.clear()


def _identity(path: Path) -> tuple[int, int]:
    """What tells a file from another that bears its name later."""
    status = path.lstat()
    return status.st_dev, status.st_ino


@contextmanager
def creations() -> Iterator[Creations]:
    """`Creations` that are taken back when the context ends by an exception."""
    made = Creations()
    try:
        yield made
    except BaseException:
        made.take_back()
        raise


def lock(path: Path) -> FileLock:
    """The lock of the file `path`, made on first use. Raises `OSError` where `path` is a user's own file."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return FileLock(path)
    if not path.is_file() or path.is_symlink() or status.st_size:
        raise FileExistsError(errno.EEXIST, f"{path} is in the way: wgan keeps an empty lock file there", str(path))
    return FileLock(path)


def write_atomically(path: Path, content: bytes) -> None:
    """Writes another file, flushes it and its folder to the disk, and renames it to `path`: at any instant, power
    cuts included, `path` is the old file or the whole new one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with aside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        flush_folder(path.parent)
    finally:
        with suppress(OSError):  # a full disk or a lost folder has been raised already
            aside.unlink(missing_ok=True)


_ASIDE = re.compile(r"\..+\.\d+(-[0-9a-f]{8})?\.tmp")


def is_aside(path: Path) -> bool:
    """Whether `write_atomically` left this file unfinished, as its process was killed."""
    return _ASIDE.fullmatch(path.name) is not None and path.is_file() and not path.is_symlink()


def flush_folder(folder: Path) -> None:
    """Makes new and removed names in `folder` survive a power cut."""
    if os.name == "nt":
        return  # Windows opens no folders; it journals their names itself
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_plain(path: Path, content: bytes | None = None) -> Any:
    """The plain containers and tensors that torch saved in `path`, on the CPU; no code in the file is run.

    `content` holds the bytes of the file if they have been read already. Raises `BadInputError` for any other file.
    """
    try:
        file = io.BytesIO(path.read_bytes() if content is None else content)
        if not zipfile.is_zipfile(file):  # torch would take anything else for a pickle
            raise BadInputError(f"{path}: truncated, damaged, or not a file of torch's")
        with zipfile.ZipFile(file) as archive:
            if archive.testzip() is not None:  # torch itself compares no checksums
                raise BadInputError(f"{path}: damaged: the checksum of a part does not match its content")
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
