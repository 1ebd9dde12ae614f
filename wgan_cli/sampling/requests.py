"""Which samples are drawn: of which seeds, names and conditions."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wgan_cli.conditions import Classes, GivenColumns
from wgan_cli.data.sample_files import check_columns, open_samples
from wgan_cli.errors import BadInputError
from wgan_cli.runs.loaded import LoadedRun

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
