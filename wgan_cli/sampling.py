"""Which samples are drawn, and the files that they are written to."""

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

from wgan_cli.conditions import Classes, GivenColumns
from wgan_cli.data.pixels import Array, to_pixels
from wgan_cli.data.places import check_apart
from wgan_cli.data.sample_files import check_columns, open_samples
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.files import creations, write_atomically
from wgan_cli.plots.images import image_scene
from wgan_cli.plots.samples import picture
from wgan_cli.plots.scene import Scene
from wgan_cli.plots.style import write_png
from wgan_cli.runs.loaded import LoadedRun
from wgan_cli.runs.places import holds_run, near_runs

log = logging.getLogger("wgan")


@dataclass(frozen=True)
class Request:
    """Samples to draw: a seed, a name and perhaps a condition each."""

    seeds: Sequence[int]
    names: Sequence[str]
    condition: Tensor | None = None
    """(N, width); None for the run's own mixture."""
    columns: int | None = None
    """Of a grid with one row a class."""


def request(
    loaded: LoadedRun,
    seeds: Sequence[int],
    classes: Sequence[int] | None = None,
    given: Sequence[str] = (),
    given_from: Path | None = None,
) -> Request:
    """The samples of these seeds, as the options --class, --given and --given-from ask for them.

    Several classes are drawn from the same seeds, one row a class. Raises `BadInputError` for options that do not fit
    the run's condition or each other.
    """
    conditions = loaded.conditions
    if classes is not None:
        assert isinstance(conditions, Classes)
        return _of_classes(conditions, seeds, classes)
    if given:
        condition = _given_columns(loaded).asked(_parse_given(given)).expand(len(seeds), -1)
        return Request(seeds, _names(seeds), condition)
    if given_from:
        columns, values = _given_columns(loaded), given_rows(given_from, loaded)[: len(seeds)]
        columns.warn_of_range(values)
        return Request(seeds, _names(seeds), columns.encode(values))
    return Request(seeds, _names(seeds))


LONGEST_STRIP = 16
"""A path between two samples is drawn in one row, if it has no more steps than this, and else in rows of as many."""


def interpolated(
    loaded: LoadedRun, first: int, last: int, steps: int, request: Request
) -> tuple[Sequence[str], Tensor]:
    """Names and samples (N, *shape) on the path from seed `first` to seed `last`: `steps` for each requested class."""
    latents = loaded.config.latent.interpolate(first, last, steps).repeat(len(request.seeds) // steps, 1)
    condition = request.condition
    if condition is None and loaded.conditions is not None:  # one for the whole path
        condition = loaded.conditions.for_seeds(request.seeds)
        _tell_of_held(loaded, first, condition)
    names = [f"{first}-{last}-{i:04d}" for i in range(len(request.seeds))]
    return names, loaded.sample_latents(latents, condition)


def _tell_of_held(loaded: LoadedRun, seed: int, condition: Tensor) -> None:
    """Logs that only the latents change along a path, which ends at another sample than its last seed's, then."""
    if isinstance(loaded.conditions, Classes):
        name = loaded.conditions.names[int(condition[0].argmax())]
        log.info("the whole path is of the class of seed %d, %s; --class draws another", seed, name)
    else:
        log.info("the whole path has the given values of seed %d; --given sets others", seed)


def _given_columns(loaded: LoadedRun) -> GivenColumns:
    if not isinstance(loaded.conditions, GivenColumns):
        raise BadInputError("--given: the run was not trained with condition: {kind: columns, names: [...]}")
    return loaded.conditions


def given_rows(path: Path, loaded: LoadedRun) -> Tensor:
    """The run's given columns (N, width) in a --given-from file, a row a sample. Raises `BadInputError`."""
    names = _given_columns(loaded).names
    check_columns(path, names, f"--given-from {path}")
    file = open_samples(path, wanted=names.__contains__)
    assert file.names is not None
    chosen = [file.names.index(name) for name in names]
    values = torch.from_numpy(np.array(file.values[:, chosen], dtype=np.float64))
    if not values.isfinite().all():
        raise BadInputError(f"--given-from {path}: holds values that are not finite")
    return values


def classes(loaded: LoadedRun, request: Request) -> list[str] | None:
    """The class of each requested sample, if the run was trained with classes."""
    conditions = loaded.conditions
    if not isinstance(conditions, Classes):
        return None
    condition = conditions.for_seeds(request.seeds) if request.condition is None else request.condition
    return [conditions.names[number] for number in condition.argmax(1).tolist()]


def _names(seeds: Sequence[int]) -> list[str]:
    return [f"seed{seed:06d}" for seed in seeds]


def _of_classes(conditions: Classes, seeds: Sequence[int], numbers: Sequence[int]) -> Request:
    drawn = [seed for _ in numbers for seed in seeds]
    chosen = torch.tensor(numbers).repeat_interleave(len(seeds))
    names = [f"{conditions.names[number]}-{name}" for number in numbers for name in _names(seeds)]
    return Request(drawn, names, conditions.encode(chosen), len(seeds) if len(numbers) > 1 else None)


def parse_classes(text: str, loaded: LoadedRun) -> list[int]:
    """The classes of --class: `0-2,cat` is [0, 1, 2, the number of cat]. Raises `BadInputError`."""
    conditions = loaded.conditions
    if not isinstance(conditions, Classes):
        raise BadInputError("--class: the run was not trained with condition: {kind: labels}")
    numbers: list[int] = []
    parts = [text] if text in conditions.names else text.split(",")  # the name of a class may have a comma
    for each in parts:
        part = each if each in conditions.names else each.strip()
        first, dash, last = part.partition("-")
        if part in conditions.names or not (dash and first.isdecimal() and last.isdecimal()):
            numbers.append(conditions.number(part))
            continue
        found = _between(first, last, conditions)
        if not found:
            raise BadInputError(f"--class {part}: a range goes from its smaller number to its larger, such as 0-9")
        numbers += found
    for number in numbers:
        if not conditions.shares[number]:
            log.warning("--class: the run had no sample of %s to train on", conditions.names[number])
    return numbers


def _between(first: str, last: str, conditions: Classes) -> Sequence[int]:
    """The classes of a range. Names are compared by value: those of older runs are in the order 1, 10, 2."""
    names = conditions.names
    if first not in names or last not in names:
        return range(conditions.number(first), conditions.number(last) + 1)
    inside = [name for name in names if name.isdecimal() and int(first) <= int(name) <= int(last)]
    return [names.index(name) for name in sorted(inside, key=int)]


def _parse_given(given: Sequence[str]) -> dict[str, float]:
    """The values of `COLUMN=VALUE` options."""
    values: dict[str, float] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name in values:
            raise BadInputError(f"--given {text}: {name} is given twice")
        try:
            values[name] = float(value)
        except ValueError:
            raise BadInputError(f"--given {text}: must be COLUMN=NUMBER, such as {name}=1.5") from None
    return values


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
