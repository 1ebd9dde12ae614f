"""Which folders hold runs. It imports no torch, so that a shell which completes names gets its answer at once."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def holds_run(path: Path) -> bool:
    """Whether `path` is the folder of a run: a config alone may be the user's own file."""
    return (path / "config.yaml").is_file() and ((path / ".lock").is_file() or (path / "checkpoints").is_dir())


def near_runs(folder: Path, depth: int = 3, most: int = 1000) -> Iterator[Path]:
    """The runs at most `depth` levels below `folder`, those of the upper levels first. It looks at `most` folders."""
    level = [folder]
    for _ in range(depth):
        below = [folder for place in level for folder in _folders(place)][:most]
        most, level = most - len(below), []
        for place in below:
            with suppress(OSError):  # this user may not look into it
                if holds_run(place):
                    yield place
                else:
                    level.append(place)


def _folders(place: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(entry for entry in place.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return []
