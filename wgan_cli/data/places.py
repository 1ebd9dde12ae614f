"""The places of a run's data, which nothing else is written to."""

from collections.abc import Iterable
from os.path import realpath
from pathlib import Path

from wgan_cli.errors import BadInputError
from wgan_cli.paths import expanded


def check_apart(path: Path, places: Iterable[str], option: str) -> None:
    """Raises `BadInputError` if `path`, the value of `option`, is one of the `places` of data, or in such a folder."""
    target = Path(realpath(path))  # `Path.resolve` raises an error of its own for links in a circle
    for place in map(expanded, places):
        own = Path(realpath(place))
        if target == own:
            raise BadInputError(f"{option} {path}: holds the data; name another place")
        if own.is_dir() and own in target.parents:
            raise BadInputError(f"{option} {path}: is in {place}, among the data; name another place")
