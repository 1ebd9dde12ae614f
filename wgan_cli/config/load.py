"""Reads configs from YAML files, shipped configs and checkpoints."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from wgan_cli.config.documents import Document
from wgan_cli.config.faults import explained, raise_faults
from wgan_cli.config.run_config import RunConfig
from wgan_cli.config.shipped import find_config, has_an_end
from wgan_cli.data import DataSpec
from wgan_cli.errors import BadInputError

Loaded = TypeVar("Loaded", bound=BaseModel)


def load_config(name: str, overrides: Sequence[str] = (), ranks: int = 1) -> RunConfig:
    """Loads the config file `name`, or the shipped config called `name`, and applies `KEY=VALUE` overrides.

    `ranks` is the number of processes that share each batch.
    Raises `BadInputError` with one line per fault, each with the file, the line and the key.
    """
    document = read_document(find_config(name))
    for override in overrides:
        document.override(override)
    return _checked(document, ranks)


def load_varied(name: str, values: Sequence[tuple[tuple[str, ...], Any, str]]) -> RunConfig:
    """Loads the config `name` with other values: each is a key, plain containers, and a place for messages."""
    document = read_document(find_config(name))
    for key, value, place in values:
        document.put(key, value, place)
    return _checked(document)


def load_spec(path: Path, model: type[Loaded]) -> Loaded:
    """Reads a spec of the class `model` from a YAML file, with the same checks as a run's config."""
    return checked_spec(read_document(path), model)


def config_from_dict(tree: Mapping[str, Any], source: str) -> RunConfig:
    """The inverse of `RunConfig.to_dict`; `source` names the checkpoint in messages."""
    return _checked(Document(source, json.dumps(tree)))


def read_document(path: Path) -> Document:
    """Reads a YAML file. Raises `BadInputError` if it can't be read, or is no strict YAML."""
    if path.exists() and not path.is_dir() and not has_an_end(path):
        raise BadInputError(f"{path}: is a device or pipe, not a file")
    try:
        return Document(str(path), path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"{path}: can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}: can't be read as a text file ({error})") from error


def _checked(document: Document, ranks: int = 1) -> RunConfig:
    config = _resolved(checked_spec(document, RunConfig), document)
    raise_faults(document, config.faults())
    if ranks > 1:
        raise_faults(document, config.rank_faults(ranks))
    return config


def _resolved(config: RunConfig, document: Document) -> RunConfig:
    """The config with what only the data's files know, such as the shape of a sample."""
    try:
        return config.model_copy(update={"data": config.data.resolved()})
    except BadInputError as error:
        message = f"{error}{_beside(config.data, Path(document.source).parent)}"
        raise BadInputError(document.located(("data",), message, with_overrides=True)) from error


def _beside(data: DataSpec, folder: Path) -> str:
    """Tells of paths that are not there as they stand, but seen from the config's own `folder`."""
    places = [getattr(data, key) for key in sorted(data.location_keys)]
    parts = [part for place in places for part in (place if isinstance(place, tuple) else (place,))]
    paths = [Path(part) for part in parts if isinstance(part, str)]
    found = [str(folder / path) for path in paths if not path.exists() and (folder / path).exists()]
    return f"; paths are seen from the folder in which wgan is called: {', '.join(found)}" if found else ""


def checked_spec(document: Document, model: type[Loaded]) -> Loaded:
    """The spec of the class `model` that a document holds. Raises `BadInputError` with one line per fault."""
    try:
        # Through JSON, because strict validation of Python objects refuses a list where a tuple is expected.
        return model.model_validate_json(json.dumps(document.tree))
    except ValidationError as error:
        raise_faults(document, explained(error, document, model))
        raise
