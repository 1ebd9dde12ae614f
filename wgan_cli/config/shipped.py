"""The configs that come with the package: found by name from any folder, and listed without importing torch."""

import difflib
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from wgan_cli.errors import BadInputError
from wgan_cli.paths import expanded

_PACKAGE = Path(__file__).parents[1]
# A wheel carries the configs inside the package; a source tree has them beside it.
FOLDER = next((f for f in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if f.is_dir()), _PACKAGE / "configs")


def names() -> list[str]:
    """The names of the shipped configs, in order, without `.yaml`."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read(name: str) -> str:
    """The text of a shipped config; `name` is with or without `.yaml`. Raises `BadInputError` for other names."""
    stem = name.removesuffix(".yaml")
    if stem not in names():
        raise BadInputError(f"{name}: no shipped config; {_hint(stem)}")
    return (FOLDER / f"{stem}.yaml").read_text(encoding="utf-8")


def portable(name: str) -> str:
    """The text of a shipped config whose reference to the schema, for editors, holds in any folder."""
    schema = "$schema="
    return read(name).replace(f"{schema}schema.json", f"{schema}{(FOLDER / 'schema.json').as_uri()}")


def title(name: str) -> str:
    """The comment in the first line of a shipped config."""
    return read(name).partition("\n")[0].lstrip("# ")


def has_an_end(path: Path) -> bool:
    """Whether a path can be read to its end. Devices such as /dev/zero have none, and most pipes wait for a writer.

    A shell's <(...) is a pipe that something writes to.
    """
    return path.is_file() or (path.parent == Path("/dev/fd") and path.is_fifo())


def run_name(config: str) -> str:
    """What a run of the config of this name, or in this file, is called: a pipe's number says nothing."""
    path = Path(config)
    return "run" if path.parent == Path("/dev/fd") else path.stem


def find_config(name: str) -> Path:
    """The file `name`, or the shipped config of that name, with or without `.yaml`. Raises `BadInputError`."""
    path = expanded(name)
    if has_an_end(path):
        return path
    stem = name.removesuffix(".yaml")
    if stem in names():  # also if a folder, such as a run's, has that name
        return FOLDER / f"{stem}.yaml"
    if path.is_dir():
        raise BadInputError(
            f"{name}: is a folder; name a config file, or one that `wgan configs` lists. "
            f"`wgan init --data {shlex.quote(name)}` writes one for a folder of pictures"
        )
    raise BadInputError(f"{name}: no such file, nor a shipped config; {_hint(stem, _files_near(path))}")


def _hint(stem: str, files: Sequence[str] = ()) -> str:
    near = [*files, *difflib.get_close_matches(stem, names(), n=1)]
    return f"did you mean {near[0]}?" if near else "`wgan configs` lists those that come with wgan"


def _files_near(path: Path) -> list[str]:
    """The YAML file of the same folder whose name is nearest, if there is one."""
    with suppress(OSError):  # no such folder, or one that this user may not look into
        written = [file.name for file in path.parent.iterdir() if file.suffix in (".yaml", ".yml")]
        return [str(path.parent / name) for name in difflib.get_close_matches(path.name, written, n=1)]
    return []
