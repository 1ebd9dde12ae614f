"""The pictures of a folder or a .zip, by their names."""

import io
import lzma
import os
import re
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath

from PIL import Image

from wgan_cli.errors import BadInputError
from wgan_cli.paths import ending

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
LARGEST_FILE = 1 << 29
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)
"""What `zipfile` raises for a damaged or encrypted file, or for a method that it does not know."""
UNREADABLE = (
    *(OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning),
    *(struct.error, zlib.error, AttributeError, LookupError, TypeError, ArithmeticError, EOFError, RuntimeError),
)
"""What Pillow raises for a file that is no picture, or damaged; the second line is for tags of odd types and values."""


class Pictures(ABC):
    """Files of pictures below a folder or in a .zip."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def stamps(self) -> dict[str, tuple[int, ...]]:
        """The names of all pictures, in order, and for each what changes when the file does.

        They are those of when it was first asked for: to ask each of a million files takes a while.
        """
        return dict(sorted(self._stamps()))

    @abstractmethod
    def _stamps(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The name and stamp of each picture, in any order."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The content of one file. Raises `OSError` if it can't be read."""

    def image(self, name: str) -> Image.Image:
        """The picture, as `opened` gives it."""
        return opened(self.read(name))


def opened(content: bytes) -> Image.Image:
    """The picture, not decoded yet. Raises one of `UNREADABLE` if it is none, or of numbers without a fixed range."""
    image = Image.open(io.BytesIO(content))
    is_old_png = image.mode == "I" and image.format == "PNG"  # of 16 bits, as Pillow before 10.3 opens it
    if image.mode in ("I", "F") and not is_old_png:
        raise ValueError(
            f"its numbers, of Pillow's mode {image.mode}, have no fixed black and white; save it with 8 or 16 bits "
            "without sign, or all as one array for `kind: arrays`"
        )
    return image


def reason_of(error: Exception) -> str:
    """Pillow's message, without the address of the object that it read from."""
    return re.sub(r" <_io.BytesIO object at 0x[0-9a-f]+>", "", str(error)) or type(error).__name__


@contextmanager
def open_pictures(path: Path) -> Iterator[Pictures]:
    """The pictures at `path`, a folder or a .zip. Raises `BadInputError` for anything else, or if there are none."""
    if path.is_dir():
        pictures: Pictures = _Folder(path)
        yield _checked(pictures)
        return
    if ending(path) != ".zip" or not path.is_file():
        raise BadInputError(f"{path}: is no folder of pictures, nor a .zip of one")
    try:
        archive = zipfile.ZipFile(path)
    except (*DAMAGED, OSError, ValueError) as error:
        raise BadInputError(f"{path}: truncated, damaged, or not a .zip ({error})") from error
    with archive:
        yield _checked(_Zip(path, archive))


def _checked(pictures: Pictures) -> Pictures:
    if not pictures.stamps:
        raise BadInputError(f"{pictures.path}: holds no pictures ({', '.join(ENDINGS)}){_other_kind(pictures.path)}")
    return pictures


def _other_kind(path: Path) -> str:
    """The remedy for a folder of MNIST's own files."""
    found = next((file for above in ("", "*/", "*/*/") for file in path.glob(f"{above}*-ubyte*")), None)
    return f"; files such as {found.name} are for data: {{kind: mnist, root: FOLDER}}" if found else ""


def _is_picture(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return name.lower().endswith(ENDINGS) and not any(part.startswith((".", "__MACOSX")) for part in parts)


class _Folder(Pictures):
    def _stamps(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        for folder, _, names in os.walk(self.path):
            for name in names:
                file = Path(folder) / name
                relative = file.relative_to(self.path).as_posix()
                if _is_picture(relative) and file.is_file():
                    status = file.stat()
                    yield relative, (status.st_size, status.st_mtime_ns)

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()


class _Zip(Pictures):
    """Nothing is unpacked to the disk, so names that lead out of the archive can do no harm; they are refused."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        super().__init__(path)
        self._archive = archive
        for name in archive.namelist():
            if ".." in PurePosixPath(name).parts or name.startswith("/"):
                raise BadInputError(f"{path}: holds the name {name!r}, which leads out of it; make a clean one")

    def _stamps(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        for info in self._archive.infolist():
            if not info.is_dir() and _is_picture(info.filename):
                yield info.filename, (info.file_size, info.CRC)

    def read(self, name: str) -> bytes:
        if self._archive.getinfo(name).file_size > LARGEST_FILE:
            raise OSError(f"unpacks to more than {LARGEST_FILE:,} bytes")
        try:
            return self._archive.read(name)
        except DAMAGED as error:
            raise OSError(str(error) or type(error).__name__) from error
