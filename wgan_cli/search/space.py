"""A space of configs, as a YAML file describes it."""

import difflib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from wgan_cli.config.documents import Document, dotted
from wgan_cli.config.faults import raise_faults
from wgan_cli.config.load import checked_spec, load_varied, read_document
from wgan_cli.config.run_config import RunConfig
from wgan_cli.spec import Spec

KeyPath = tuple[str, ...]
FAMILIES = (
    *("accuracy", "class_share", "condition", "critic", "fidelity", "frechet", "generator", "memorisation", "modes"),
    *("samples", "speed", "truth"),
)
"""How the names of figures begin. Which ones a run has depends on its data, and is known once a trial has ended."""


class SearchSpec(Spec):
    """What is searched for, and where."""

    config: str
    """The config of which trials are variants: a file, or the name of a shipped config."""
    objective: str = Field(pattern="^[a-z_]+/.+$")
    """A figure that the runs log, such as `truth/w1`: the mean of its last three values counts. Else one of
    `wgan evaluate`."""
    direction: Literal["minimise", "maximise"] = "minimise"
    prune: bool = True
    """Whether a trial ends early if the objective, as it is logged, is worse than the median of those before."""
    seed: int = Field(default=0, ge=0)
    """Of the choice of trials."""
    space: dict[str, Any] = Field(min_length=1)
    """Keys as in a config, nested or dotted, and for each a range, choices, or one value for all trials."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`: whole ones if both ends are."""

    low: int | float
    high: int | float
    log: bool = False
    """Whether each factor is as probable as any other, rather than each distance."""

    @property
    def is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def tried(self) -> tuple[Any, ...]:
        """The values that are checked before a search begins."""
        return (self.low, self.high)


@dataclass(frozen=True)
class Choices:
    """Any of some values, which may be mappings too."""

    values: tuple[Any, ...]

    @property
    def tried(self) -> tuple[Any, ...]:
        return self.values


@dataclass(frozen=True)
class Space:
    """The configs that a search tries."""

    spec: SearchSpec
    varied: Mapping[KeyPath, Range | Choices]
    fixed: Mapping[KeyPath, Any]
    places: Mapping[KeyPath, str]
    """File and line of each key, for messages."""

    def config(self, values: Mapping[KeyPath, Any]) -> RunConfig:
        """The config with these values of the varied keys. Raises `BadInputError` if they don't go together."""
        all_values = {**self.fixed, **values}
        return load_varied(self.spec.config, [(key, all_values[key], where) for key, where in self.places.items()])

    @property
    def first(self) -> RunConfig:
        """The config with the first value of each varied key."""
        return self.config({key: values.tried[0] for key, values in self.varied.items()})

    def to_dict(self) -> dict[str, Any]:
        """What determines the search, in plain containers: with another one of these, it is another search."""
        return {**self.spec.model_dump(mode="json"), "first": self.first.to_dict()}


def read_space(path: Path) -> Space:
    """Reads a space from a YAML file, and checks the ends of each range and each choice as values of the config.

    Raises `BadInputError` with one line per fault, each with the file, the line and the key.
    """
    document = read_document(path)
    spec = checked_spec(document, SearchSpec)
    leaves = list(_leaves(document.tree["space"], ("space",), ()))
    raise_faults(document, [*_objective_faults(spec), *_faults(leaves)])
    varied = {key: _parsed(value) for _, key, value in leaves if _is_varied(value)}
    fixed = {key: value for _, key, value in leaves if not _is_varied(value)}
    places = {key: document.places[written] for written, key, _ in leaves}
    space = Space(spec, varied, fixed, places)
    _check_values(space, document)
    return space


Leaf = tuple[KeyPath, KeyPath, Any]
"""A key as it is written, the key of the config that it names, and its value."""
_WORDS = ("low", "high", "log", "choices")


def _leaves(tree: Mapping[str, Any], written: KeyPath, key: KeyPath) -> Iterator[Leaf]:
    for name, value in tree.items():
        where, names = (*written, name), (*key, *name.split("."))
        if isinstance(value, dict) and value and not _is_varied(value):
            yield from _leaves(value, where, names)
        else:
            yield where, names, value


def _is_varied(value: Any) -> bool:
    return isinstance(value, dict) and any(word in value for word in _WORDS)


def _parsed(value: Mapping[str, Any]) -> Range | Choices:
    if "choices" in value:
        return Choices(tuple(value["choices"]))
    return Range(value["low"], value["high"], value.get("log", False))


def _objective_faults(spec: SearchSpec) -> Iterator[tuple[KeyPath, str]]:
    family = spec.objective.partition("/")[0]
    if family not in FAMILIES:
        near = difflib.get_close_matches(family, FAMILIES, n=1)
        hint = f"did you mean {near[0]}/...? " if near else ""
        yield ("objective",), f"{spec.objective} is no figure; {hint}Their names begin with {', '.join(FAMILIES)}"


def _faults(leaves: list[Leaf]) -> Iterator[tuple[KeyPath, str]]:
    seen: dict[KeyPath, KeyPath] = {}
    for written, key, value in leaves:
        if key in seen:
            yield written, f"is given twice, as {dotted(seen[key])} too; keep one of them"
        seen[key] = written
        if _is_varied(value):
            for word, message in _range_faults(value):
                yield (*written, *word), message
    if not any(_is_varied(value) for _, _, value in leaves):
        yield ("space",), "has no range; write KEY: {low: 1, high: 5} or KEY: {choices: [a, b]}"


def _range_faults(value: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    allowed = ("choices",) if "choices" in value else ("low", "high", "log")
    for word in value:
        if word not in allowed:
            near = difflib.get_close_matches(word, allowed, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            yield (word,), f"unknown key; {hint}Allowed: {', '.join(allowed)}"
            return
    if "choices" in value:
        choices = value["choices"]
        if not isinstance(choices, list) or not choices:
            yield ("choices",), "must be a list of at least one value, such as [relu, leaky_relu]"
        return
    for end in ("low", "high"):
        number = value.get(end)
        if end not in value:
            yield (), f"{end} is missing; write {{low: 1, high: 5}}"
            return
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            yield (end,), f"must be a finite number, but is {json.dumps(number)}"
            return
    if value["low"] >= value["high"]:
        yield ("low",), f"must be less than high, but is {value['low']:g}, and high is {value['high']:g}"
    if not isinstance(value.get("log", False), bool):
        yield ("log",), "must be true or false"
    elif value.get("log") and value["low"] <= 0:
        yield ("low",), f"must be greater than 0 with log: true, but is {value['low']:g}"


def _check_values(space: Space, document: Document) -> None:
    """Checks each end and each choice, one key after the other, beside the first values of the other keys."""
    first = {key: values.tried[0] for key, values in space.varied.items()}
    space.config(first)
    for key, values in space.varied.items():
        for value in values.tried[1:]:
            space.config({**first, key: value})
