"""A generator alone, as a .safetensors file: its weights, and as text beside them its config, step and data state.

The format holds numbers and text, and no code; the library reads it without pickle. A checksum over the weights and the
text is part of the text, as the format has none.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wgan_cli import __version__
from wgan_cli.config.run_config import RunConfig
from wgan_cli.errors import BadInputError

GENERATOR = ".safetensors"
WEIGHTS, DATA = "generator.", "data."
"""How the names of the tensors begin: of the network, and of the state of its data."""
FORMAT = 1


def generator_bytes(
    weights: Mapping[str, Tensor], config: RunConfig, step: int, data_state: Mapping[str, Any], *, averaged: bool
) -> bytes:
    """The bytes of the file of a generator with these `weights`: the averaged ones, or those of iteration `step`."""
    from safetensors.torch import save

    plain, tensors = _parted(data_state)
    tensors |= {WEIGHTS + name: weight for name, weight in weights.items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = {
        "format": str(FORMAT),
        "wgan": __version__,
        "step": str(step),
        "weights": "averaged" if averaged else "last",
        "config": json.dumps(config.to_dict()),
        "data": json.dumps(plain),
    }
    return save(tensors, text | {"sha256": _digest(tensors, text)})


def read_generator(path: Path) -> dict[str, Any]:
    """The content of such a file, on the CPU: `format`, `wgan`, `step`, `weights`, `config`, `data`, `generator`.

    Raises `BadInputError` for another file, or a damaged one.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise BadInputError(f"{path}: reading it needs safetensors; pip install 'wgan[export]'") from error
    try:
        with safe_open(path, framework="pt") as file:
            text = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
    except OSError as error:
        raise BadInputError(f"{path}: can't be read ({error.strerror or error})") from error
    except SafetensorError as error:
        raise BadInputError(f"{path}: truncated, damaged, or not a .safetensors file") from error
    if "wgan" not in text or "sha256" not in text:
        raise BadInputError(f"{path}: not a generator that wgan exported")
    if text.get("format") != str(FORMAT):
        raise BadInputError(f"{path}: has format {text.get('format')}, but this wgan reads {FORMAT}; use a newer one")
    if text.pop("sha256") != _digest(tensors, text):
        raise BadInputError(f"{path}: damaged: its checksum does not match its content")
    state: dict[str, Any] = {**text, "step": int(text["step"])}
    state |= {name: json.loads(text[name]) for name in ("config", "data")}
    state["generator"] = {name.removeprefix(WEIGHTS): t for name, t in tensors.items() if name.startswith(WEIGHTS)}
    for name, tensor in tensors.items():
        if name.startswith(DATA):
            _put(state, name.split("."), tensor)
    return state


def _digest(tensors: Mapping[str, Tensor], text: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(dict(text), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _parted(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The state of data without its tensors, and these by their dotted names."""
    tensors = {DATA + ".".join(key): value for key, value in _tensors(state)}
    return _without_tensors(state), tensors


def _tensors(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    for name, value in tree.items():
        if isinstance(value, Tensor):
            yield (*above, name), value
        elif isinstance(value, Mapping):
            yield from _tensors(value, (*above, name))


def _without_tensors(tree: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in tree.items() if not isinstance(value, Tensor)}
    return {name: _without_tensors(value) if isinstance(value, Mapping) else value for name, value in plain.items()}


def _put(tree: dict[str, Any], key: list[str], value: Tensor) -> None:
    for name in key[:-1]:
        tree = tree.setdefault(name, {})
    tree[key[-1]] = value
