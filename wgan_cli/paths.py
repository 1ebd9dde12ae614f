"""Paths as users write them."""

from pathlib import Path

from wgan_cli.errors import BadInputError


def expanded(path: str | Path) -> Path:
    """The path, with `~` and `~name` as the folders that they stand for.

    Raises `BadInputError` for an empty text, which would mean the current folder, and for a user who is not known.
    """
    if path == "":
        raise BadInputError("'' is no path; name a file or folder")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise BadInputError(f"{path}: there is no such user, whose home folder ~ would be") from error


def argument(path: Path) -> str:
    """The path as an argument of a command line: one that begins with a dash would be read as an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def ending(path: str | Path) -> str:
    """The ending of the name of a file to read, in small letters: cameras and Windows programs write .CSV or .ZIP."""
    return Path(path).suffix.lower()
