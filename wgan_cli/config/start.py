"""Configs to start from, with a comment on each key: a shipped recipe, or one that fits the user's data."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from wgan_cli.config import shipped
from wgan_cli.config.run_config import RunConfig
from wgan_cli.data.heldout import split
from wgan_cli.data.survey import Survey

Shape = tuple[int, ...]
RECIPES = {1: "table_gp", 2: "series_gp", 3: "mnist_gp", 4: "field_gp"}
"""By the dimensions of a sample: the shipped config whose other settings a config for the user's data has."""
COMMENTS = {
    "seed": "The same seed gives the same run.",
    "data": "What is learned. A path is seen from the folder in which wgan is called.",
    "condition": "What samples are asked to be.",
    "latent": "The generator's input: so many independent normal numbers a sample.",
    "generator": "Makes samples of latents.",
    "critic": "Scores samples. The gap is its mean score of real samples, less that of generated ones.",
    "lipschitz": "Keeps the critic's slope down, so that the gap says something of the distance.",
    "objective": "What is minimised.",
    "optimizer": "How each network learns: its rate lr, and whether the rate decays.",
    "training": "Generator updates, samples in a batch, critic updates before each generator update.",
    "output": "How often, in iterations: a line of figures, a picture of samples, a checkpoint.",
}


def from_shipped(name: str) -> str:
    """A shipped config, with a comment on each key. Raises `BadInputError` for other names."""
    return _written([shipped.title(name)], _blocks(shipped.read(name)))


def for_data(found: Survey, name: str) -> str:
    """A config whose data lines and networks fit what was found, in a file or folder called `name`.

    Raises `BadInputError` if no run could read it.
    """
    spec = found.spec.resolved()
    shape, count = spec.sample_shape, found.facts["samples"]
    train, _ = split(count, 0.1, name)
    recipe = RECIPES[len(shape)]
    blocks = _blocks(shipped.read(recipe)) | {"data": found.yaml_lines()}
    blocks["generator"], blocks["critic"] = _networks(shape)
    if len(shape) == 3 or (len(shape) == 1 and shape[0] > 16):  # digits need fewer latents than pictures do
        blocks["latent"] = "latent: {dim: 64}"
    most = min(len(train), int(re.search(r"batch_size: (\d+)", blocks["training"])[1]))  # type: ignore[index]
    blocks["training"] = re.sub(r"batch_size: \d+", f"batch_size: {2 ** int(math.log2(most))}", blocks["training"])
    printable = "".join(character if character.isprintable() else "?" for character in name)
    about = [f"{printable}: {count:,} samples of shape {' x '.join(map(str, shape))}, by the recipe of {recipe}"]
    if spec.class_names:
        blocks = _after(
            "data", blocks, "condition", "# condition: {kind: labels}  # learns classes, for wgan sample --class"
        )
    return _written([*about, *found.notes()], blocks)


def _after(name: str, blocks: Mapping[str, str], added: str, block: str) -> dict[str, str]:
    """The blocks with another one after that of `name`."""
    items = list(blocks.items())
    place = [key for key, _ in items].index(name) + 1
    return dict([*items[:place], (added, block), *items[place:]])


def _networks(shape: Shape) -> tuple[str, str]:
    """The lines of a generator and a critic for samples of this shape: convolutions, where sizes can be halved."""
    stages = _stages(shape)
    if not stages:
        width = 128 if math.prod(shape) <= 64 else 256
        generator, critic = [width] * 3, [2 * width] * 2
        return f"generator: {{kind: mlp, hidden: {generator}}}", f"critic: {{kind: mlp, hidden: {critic}}}"
    first = 16 if len(shape) == 4 else 32
    widths = [first * 2**i for i in range(stages)]
    kernel = ", kernel: 8" if len(shape) == 2 and shape[1] >= 32 else ""
    hidden = ", hidden: [256]" if len(shape) == 3 else ""
    upwards = f"channels: {widths[::-1]}{kernel}, final: transposed, norm: batch, activation: relu"
    return f"generator: {{kind: conv, {upwards}}}", f"critic: {{kind: conv, channels: {widths}{kernel}{hidden}}}"


def _stages(shape: Shape, most: int = 4, least: int = 4) -> int:
    """How often all sizes of a sample can be halved: at most four times, and to no less than four."""
    sizes, count = shape[1:], 0
    while sizes and count < most and all(s % 2 ** (count + 1) == 0 and s >= least * 2 ** (count + 1) for s in sizes):
        count += 1
    return count


def _blocks(text: str) -> dict[str, str]:
    """The lines of each top-level key of a config, without comments."""
    blocks: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if not line.startswith(" "):
            name = line.partition(":")[0]
        blocks[name] = f"{blocks[name]}\n{line}" if name in blocks else line
    return blocks


def _written(about: list[str], blocks: Mapping[str, str]) -> str:
    lines = [f"# {line}" for line in about]
    lines += [f"# yaml-language-server: $schema={(shipped.FOLDER / 'schema.json').as_uri()}", "#"]
    lines += ["# `wgan train FILE --dry-run` checks this file, and prints all keys with their values and defaults."]
    for name, block in blocks.items():
        kinds = list(_kinds(RunConfig.model_fields[name].annotation))
        lines += ["", f"# {COMMENTS[name]}", *[f"# Kinds: {', '.join(kinds)}."] * (len(kinds) > 1), block]
    return "\n".join(lines) + "\n"


def _kinds(annotation: Any) -> Iterator[str]:
    """The kinds in an annotation: those of a union of specs, or of one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and "kind" in annotation.model_fields:
        yield annotation.model_fields["kind"].default
    for part in get_args(annotation):
        yield from _kinds(part)
