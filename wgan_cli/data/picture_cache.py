"""Pictures decoded once: cropped, resized and kept as one memory-mapped array in the user's cache."""

import hashlib
import io
import itertools
import json
import logging
import os
import re
import warnings
from collections.abc import Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.ExifTags import Base

from wgan_cli.bars import tracked
from wgan_cli.data.picture_files import UNREADABLE, Pictures, open_pictures, opened, reason_of
from wgan_cli.data.pixels import Pixels
from wgan_cli.errors import BadInputError
from wgan_cli.files import creations, write_atomically, written_atomically

log = logging.getLogger("wgan")
FORMAT = 3
"""Of the cache; a new number where older files no longer serve."""
MOST_UNREADABLE = 0.01
MOST_PIXELS = 100_000_000
DARK = 64
"""Of 255: what the largest value of 14 bits in 16 becomes. Microscopes often have 12, of which it becomes 16."""
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Decoded:
    """Pictures (N, C, H, W) as bytes, memory-mapped."""

    pixels: Pixels
    names: tuple[str, ...]
    """Of their files, such as cat/1.png."""
    digest: str
    """A checksum of pixels and names."""


def decode_pictures(path: Path, shape: Shape) -> Decoded:
    """The pictures of a folder or .zip as samples of this `shape`, from the cache if none has changed since.

    A picture that can't be read is named in a warning and left out. Raises `BadInputError` if there are more than
    1 % of such, or no pictures at all.
    """
    with open_pictures(path) as pictures:
        key = json.dumps([FORMAT, str(path.absolute()), shape, pictures.stamps])
        folder = Path(platformdirs.user_cache_dir("wgan", appauthor=False)) / "images"
        pixels = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
        index = pixels.with_suffix(".json")
        if not (pixels.is_file() and index.is_file()):
            _fill_cache(pictures, list(pictures.stamps), shape, pixels, index)
    kept = json.loads(index.read_text(encoding="utf-8"))
    return Decoded(np.load(pixels, mmap_mode="r"), tuple(kept["names"]), kept["digest"])


def _fill_cache(pictures: Pictures, names: list[str], shape: Shape, pixels: Path, index: Path) -> None:
    try:
        with creations() as made:
            made.folder(pixels.parent)
            with written_atomically(pixels) as file:
                kept, digest, faults = _decode_all(pictures, names, shape, file)
                if len(faults) > MOST_UNREADABLE * len(names):
                    raise BadInputError(
                        f"{pictures.path}: {len(faults)} of {len(names)} pictures can't be read; first: {faults[0]}"
                    )
            content = json.dumps({"names": kept, "digest": digest}).encode()
            write_atomically(index, content)  # last: a picture file without it is made again
    except OSError as error:
        raise BadInputError(f"{pixels.parent}: the decoded pictures can't be kept there ({error.strerror})") from error
    for fault in faults:
        log.warning("%s; left out", fault)


def _decode_all(
    pictures: Pictures, names: list[str], shape: Shape, file: io.BufferedWriter
) -> tuple[list[str], str, list[str]]:
    """Decodes all pictures by all cores into `file`; the names that could be read, a checksum of these and their
    pixels, and a message for each that could not."""

    def decode(name: str) -> Pixels | str:
        try:
            return decode_picture(pictures.read(name), shape)
        except UNREADABLE as error:
            return f"{pictures.path}/{name}: can't be read as a picture ({reason_of(error)})"

    digest = hashlib.blake2b(digest_size=16)
    kept: list[str] = []
    faults: list[str] = []
    brightest = 0
    with ThreadPoolExecutor(os.cpu_count()) as threads, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # too many pixels are an error below
        _write_header(file, (len(names), *shape))
        results = tracked(threads.map(decode, names), "pictures", len(names))
        for name, result in zip(names, results, strict=True):
            if isinstance(result, str):
                faults.append(result)
            else:
                file.write(result.tobytes())
                digest.update(name.encode(errors="surrogatepass") + b"\0" + result.tobytes())  # not all names are UTF-8
                kept.append(name)
                brightest = max(brightest, result[:3].max())  # without transparency
        file.seek(0)
        _write_header(file, (len(kept), *shape))
    if kept and brightest <= DARK:
        log.warning(
            "%s: the pictures are dark: none has a value above %d of 255, and samples will look like them; where files "
            "of 16 bits hold numbers of fewer, multiply these to fill 0 to 65535",
            *(pictures.path, brightest),
        )
    return kept, digest.hexdigest(), faults


def _write_header(file: io.BufferedWriter, shape: Shape) -> None:
    """The header of a .npy file, of a length that does not depend on the number of samples (numpy pads it)."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def decode_picture(content: bytes, shape: Shape) -> Pixels:
    """One picture (C, H, W): upright, its first frame, cropped to the centre and resized with antialiasing.

    Raises one of `UNREADABLE` for a file that is no picture, damaged, or too large.
    """
    channels, height, width = shape
    image = opened(content)
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels are more than {MOST_PIXELS:,}")
    image = _upright(image)
    if image.mode.startswith("I"):  # 16 bits
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))  # 65535 is white
    image = image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
    fitted = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    return np.asarray(fitted).reshape(height, width, channels).transpose(2, 0, 1)


def _upright(image: Image.Image) -> Image.Image:
    """The picture, turned as its EXIF data say; as it is stored where they can't be read.

    Pillow's `exif_transpose` also writes all tags anew, and fails at many that cameras and editors wrote.
    """
    image.load()
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of the picture once it is upright, before it is decoded."""
    is_on_its_side = _turn(image) in [_TURNS[number] for number in (5, 6, 7, 8)]
    return (image.height, image.width) if is_on_its_side else image.size


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(Base.Orientation))
    except UNREADABLE:
        return None


_TURNS: dict[Any, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By the number that EXIF data give the orientation."""


def classes_of(names: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes: the folders at the first level, if all pictures are in one of several.

    Levels of one folder, such as that of which a .zip was made, do not count. Numbers in the names are sorted by value,
    2 before 10.
    """
    above = _folders_above(names)
    folders = set(_folders_at(len(_shared(above)), above))
    if "" in folders:
        return ()
    longest = max(map(len, folders))

    def by_value(name: str) -> tuple[str, str]:
        return re.sub("[0-9]+", lambda digits: digits[0].zfill(longest), name), name

    return tuple(sorted(folders, key=by_value))


def _folders_above(names: Sequence[str]) -> list[tuple[str, ...]]:
    """The folders that each file is in, from the first level down."""
    return [PurePosixPath(name).parent.parts for name in names]


def _shared(above: Sequence[tuple[str, ...]]) -> list[str]:
    """The folders, from the first level down, that all files are in."""
    pairs = zip(min(above), max(above), strict=False)  # in order, all others lie between these two
    return [folder for folder, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)]


def _folders_at(level: int, above: Sequence[tuple[str, ...]]) -> list[str]:
    """The folder at this level that each file is in; empty for a file that is not so deep."""
    return [folders[level] if level < len(folders) else "" for folders in above]


def _level_of(classes: Set[str], above: Sequence[tuple[str, ...]]) -> int:
    """The level of the folders of classes: the first that differs between files, or that of the one class of all."""
    shared = _shared(above)
    if classes >= set(_folders_at(len(shared), above)):
        return len(shared)
    return next((level for level, folder in enumerate(shared) if folder in classes), len(shared))


def labels_of(
    names: Sequence[str], classes: Sequence[str], path: str, *, may_lack: bool = False
) -> NDArray[np.int64] | None:
    """The class of each picture below `path`; None without classes and, if they `may_lack`, where no picture is in one.

    Raises `BadInputError` for a picture that is in none.
    """
    numbers = {folder: number for number, folder in enumerate(classes)}
    above = _folders_above(names)
    folders = _folders_at(_level_of(numbers.keys(), above), above)
    if not classes or (may_lack and numbers.keys().isdisjoint(folders)):
        return None
    for folder, name in zip(folders, names, strict=True):
        if folder not in numbers:
            raise BadInputError(f"{path}/{name}: is in no folder of a class; these are {', '.join(classes[:20])}")
    return np.array([numbers[folder] for folder in folders])
