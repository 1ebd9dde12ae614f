"""Small pictures, and folders and archives of them."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (230, 20, 10), "green": (20, 220, 30), "blue": (10, 30, 240)}


def noise(seed: int = 0, width: int = 8, height: int = 8) -> Image.Image:
    """A colour picture of random pixels."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def write_folder(folder: Path, count: int = 12, names: Iterable[str] = ("",)) -> Path:
    """`count` PNGs below `folder`, dealt out to the folders `names`; each is of one colour, that of its folder's name
    where `COLOURS` has it, with a first pixel of its own."""
    places = list(names)
    for i in range(count):
        place = places[i % len(places)]
        image = Image.new("RGB", (8, 8), COLOURS.get(place, (90, 90, 90)))
        image.putpixel((0, 0), (i, i, i))
        (folder / place).mkdir(parents=True, exist_ok=True)
        image.save(folder / place / f"{i:03d}.png")
    return folder


def zipped(folder: Path, path: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """The files below `folder` as a .zip."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path
