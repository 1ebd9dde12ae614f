"""The files that samples are written to."""

import csv
import io
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wgan_cli.data.pixels import Array, to_pixels
from wgan_cli.data.places import check_apart
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.files import creations, write_atomically
from wgan_cli.plots.images import image_scene
from wgan_cli.plots.samples import picture
from wgan_cli.plots.scene import Scene
from wgan_cli.plots.style import write_png
from wgan_cli.runs.loaded import LoadedRun
from wgan_cli.runs.places import holds_run, near_runs

log = logging.getLogger("wgan")


def check_out(path: Path, loaded: LoadedRun) -> None:
    """Raises `BadInputError` for a path that `write` can't write, before anything is drawn."""
    data = loaded.config.data
    if path.suffix not in (*_WRITERS, ".png", ""):
        raise BadInputError(f"--out {path}: must end in .png, {', '.join(_WRITERS)}, or be a folder (no ending)")
    if not path.suffix and not _are_images(loaded):
        raise BadInputError(f"--out {path}: a folder of PNGs needs images; write .npz, or .png for a picture of all")
    if path.suffix in (".csv", ".parquet") and len(data.sample_shape) != 1:
        raise BadInputError(f"--out {path}: a table needs samples of one dimension; write .npz or .npy")
    if path.suffix == ".parquet":
        _import_pyarrow(path)
    if not path.parent.is_dir():
        raise BadInputError(f"--out {path}: there is no folder {path.parent}; make it first")
    check_apart(path, data.places, "--out")
    if not path.suffix and (holds_run(path) or next(near_runs(path, depth=1), None)):
        raise BadInputError(f"--out {path}: holds runs, among which PNGs would be lost; name a folder of their own")


def _are_images(loaded: LoadedRun) -> bool:
    """Whether samples are images, or byte arrays that are drawn as some."""
    return image_scene(_scene(loaded, torch.zeros(1, *loaded.config.data.sample_shape))) is not None


def _scene(loaded: LoadedRun, samples: Tensor) -> Scene:
    return Scene(samples, loaded.config.data, loaded.decode)


@dataclass(frozen=True)
class Drawn:
    """Samples (N, *shape) with the name of each and, if the run was trained with classes, the class of each."""

    samples: Tensor
    names: Sequence[str]
    classes: Sequence[str] | None = None


def write(drawn: Drawn, path: Path, loaded: LoadedRun, columns: int | None = None) -> None:
    """Writes samples as the ending of `path` says, in the units and layout of the run's data.

    `.npz` holds `samples` (uint8 N x H x W x C for images), `names` and perhaps `labels`, one a sample; `.npy` the
    samples alone; `.csv` and `.parquet` a table with the input's columns, each in its own type; `.png` one picture; a
    folder one PNG a sample. Raises `WganError` if it can't be written.
    """
    try:
        if path.suffix == ".png":
            write_png(path, picture(replace(_scene(loaded, drawn.samples), columns=columns, classes=drawn.classes)))
        elif path.suffix:
            write_atomically(path, _WRITERS[path.suffix](drawn, loaded))
        else:
            _write_folder(drawn, path, loaded)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise WganError(f"--out {path}: can't be written ({reason})") from error


def _write_folder(drawn: Drawn, path: Path, loaded: LoadedRun) -> None:
    """One PNG a sample. Raises `OSError`, after it has told how many were written."""
    images, written = image_scene(_scene(loaded, drawn.samples)), 0
    assert images is not None  # `check_out` has refused others
    with creations() as made:
        made.folder(path)
        try:
            for pixels, name in zip(to_pixels(images.samples), drawn.names, strict=True):
                write_png(path / f"{name}.png", pixels)
                written += 1
        finally:
            if 0 < written < len(drawn.names):
                log.error("%s: holds %d of %d samples", path, written, len(drawn.names))


def _npz(drawn: Drawn, loaded: LoadedRun) -> bytes:
    buffer = io.BytesIO()
    arrays = {"samples": loaded.decode(drawn.samples), "names": np.array(drawn.names)}
    if drawn.classes is not None:
        arrays["labels"] = _typed(drawn.classes)
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _npy(drawn: Drawn, loaded: LoadedRun) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, loaded.decode(drawn.samples))
    return buffer.getvalue()


def _csv(drawn: Drawn, loaded: LoadedRun) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    table = _table(drawn, loaded)
    writer.writerow(table)
    writer.writerows(zip(*map(_cells, table.values()), strict=True))
    return buffer.getvalue().encode()


def _table(drawn: Drawn, loaded: LoadedRun) -> dict[str, Array]:
    """The columns of samples (N, D) by name, each in its own type; that of the classes is last."""
    data = loaded.config.data
    columns = data.decoded_columns(drawn.samples, loaded.data_state)
    table = dict(zip(data.value_names or [f"x{i + 1}" for i in range(len(columns))], columns, strict=True))
    if data.class_column is not None and drawn.classes is not None:
        table[data.class_column] = _typed(drawn.classes)
    return table


def _typed(classes: Sequence[str]) -> Array:
    """The names of classes, as whole numbers if these are written so."""
    numbers = [int(name) if name.removeprefix("-").isdecimal() else None for name in classes]
    is_whole = all(str(number) == name for number, name in zip(numbers, classes, strict=True))
    return np.array(numbers if is_whole else classes)


def _cells(column: Array) -> list[int] | list[str]:
    """Whole columns are written as 3, not as 3.0, and others with as few digits as their type needs."""
    is_whole = column.dtype.kind != "U" and (column == np.rint(column)).all()
    return list(map(int, column)) if is_whole else list(map(str, column))


def _parquet(drawn: Drawn, loaded: LoadedRun) -> bytes:
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(_table(drawn, loaded)), buffer)
    return buffer.getvalue()


def _import_pyarrow(path: Path) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise BadInputError(f"--out {path}: writing .parquet needs pyarrow; pip install 'wgan[parquet]'") from error


_WRITERS: dict[str, Callable[[Drawn, LoadedRun], bytes]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".csv": _csv,
    ".parquet": _parquet,
}
