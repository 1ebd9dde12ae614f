"""Files and folders: created and taken back, written atomically, locked, and loaded without running code in them."""

import errno
import io
import os
import pickle
import re
import secrets
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from wgan_cli.errors import BadInputError


class Creations:
    """Creates folders and files, and can remove those that it created. It never touches what existed before."""

    def __init__(self) -> None:
        self._made: list[tuple[Path, tuple[int, int]]] = []

    def folder(self, path: Path) -> Path:
        """Creates the folder `path` and the missing folders above it. Raises `OSError` if that fails."""
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
                self.note(folder)
        return path

    def new_folder(self, path: Path) -> Path:
        """Creates the folder `path`, whose parent must exist. Raises `FileExistsError` if `path` exists."""
        path.mkdir()
        self.note(path)
        return path

    def note(self, path: Path) -> None:
        """Counts the existing `path` among what this object created."""
        self._made.append((path, _identity(path)))

    def take_back(self) -> None:
        """Removes what this object created, newest first. Keeps folders that are not empty, and files that were
        replaced or written to."""
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
        """Forgets what was created so far, so that `take_back` will not remove it."""
        self._made.clear()


def _identity(path: Path) -> tuple[int, int]:
    """Device and inode, which differ for another file that later has the same name."""
    status = path.lstat()
    return status.st_dev, status.st_ino


@contextmanager
def creations() -> Iterator[Creations]:
    """A context with `Creations`, which are taken back if the context ends with an exception."""
    made = Creations()
    try:
        yield made
    except BaseException:
        made.take_back()
        raise


@contextmanager
def locked(path: Path, made: Creations, timeout: float = -1) -> Iterator[None]:
    """Holds a lock on the file `path`. Waits for it `timeout` seconds, by default without end.

    The file is created if it is missing, and is then one of the creations `made`. If the context ends with an
    exception, they are taken back while the lock is still held, so that no other process loses its lock file. Raises
    filelock's `Timeout`, and `OSError` if `path` is a user's own file.
    """
    _refuse_own_file(path)
    is_new = not os.path.lexists(path)
    with FileLock(path).acquire(timeout=timeout):
        if is_new:
            made.note(path)
        try:
            yield
        except BaseException:
            made.take_back()
            raise


def is_lock_file(path: Path) -> bool:
    """Whether `path` is a lock file: empty or, where a file system has no locks, with the holder's number in it."""
    if path.is_symlink() or not path.is_file():
        return False
    return not path.stat().st_size or _SOFT_LOCK.match(path.read_bytes()[:4096]) is not None


_SOFT_LOCK = re.compile(rb"\d+\n")


def _refuse_own_file(path: Path) -> None:
    if os.path.lexists(path) and not is_lock_file(path):
        message = f"{path} is no lock file of wgan's; move it away"
        raise FileExistsError(errno.EEXIST, message, str(path))


@contextmanager
def written_atomically(path: Path) -> Iterator[io.BufferedWriter]:
    """A temporary file beside `path`. If the context ends without an exception, it is flushed to the disk and renamed
    to `path`, and else removed.

    At any instant, even after a power cut, `path` is the old file or the complete new one. Raises `OSError`.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with aside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        flush_folder(path.parent)
    finally:
        with suppress(OSError):  # the error of a full disk or a lost folder was raised before
            aside.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Writes `content` as `written_atomically` does."""
    with written_atomically(path) as file:
        file.write(content)


# Only names that wgan writes: a user's own `.notes.1.tmp` is not one of them.
_ASIDE = re.compile(
    r"\.(config\.yaml|(environment|status|evaluation)\.json|metrics\.jsonl|(mlflow|wandb)\.id"
    r"|\d{9,}\.png|(\d{9,}|best)\.pt)\.\d+(-[0-9a-f]{8})?\.tmp"
)


def is_aside(path: Path) -> bool:
    """Whether this is a temporary file of a run that `write_atomically` left because its process was killed."""
    return _ASIDE.fullmatch(path.name) is not None and path.is_file() and not path.is_symlink()


def flush_folder(folder: Path) -> None:
    """Flushes the names in `folder` to the disk, so that new and removed files survive a power cut."""
    if os.name == "nt":
        return  # Windows can't open a folder; its file system journals names
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_plain(path: Path, content: bytes | None = None) -> Any:
    """Loads plain containers and tensors that torch saved in `path`, onto the CPU. No code in the file is run.

    `content` holds the bytes of the file if they were read before. Raises `BadInputError` for any other file.
    """
    try:
        file = io.BytesIO(path.read_bytes() if content is None else content)
        if not zipfile.is_zipfile(file):  # torch would read any other file as a pickle
            raise BadInputError(f"{path}: truncated, damaged, or not a file of torch's")
        with zipfile.ZipFile(file) as archive:
            if archive.testzip() is not None:  # torch does not compare checksums
                raise BadInputError(f"{path}: damaged: the checksum of a part does not match its content")
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadInputError(
            f"{path}: refused: is damaged, or holds more than plain tensors and may carry code"
        ) from error
    except OSError as error:
        raise BadInputError(f"{path}: can't be read ({error.strerror})") from error
    except (
        RuntimeError,
        EOFError,
        ValueError,
        LookupError,
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:  # each was raised by a file with a flipped bit
        raise BadInputError(f"{path}: truncated, damaged, or not a file of torch's") from error
