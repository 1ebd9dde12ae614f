"""Pictures that commands draw beside their result."""

import logging
from pathlib import Path
from typing import Any

from wgan_cli.errors import BadInputError, WganError

log = logging.getLogger("wgan")


def checked_png(path: Path | None, option: str = "--plot") -> Path | None:
    """The path of a picture, which must be a .png in a folder that exists."""
    if path is None:
        return None
    if path.suffix != ".png":
        raise BadInputError(f"{option} {path}: must end in .png")
    if not path.parent.is_dir():
        raise BadInputError(f"{option} {path}: there is no folder {path.parent}; make it first")
    return path


def write_picture(scene: Any, path: Path, what: str) -> None:
    """Draws a `plots.samples.Scene` as PNG, and logs `what` it shows. Raises `WganError` if it can't be written."""
    from wgan_cli.plots.samples import picture
    from wgan_cli.plots.style import write_png

    try:
        write_png(path, picture(scene))
    except OSError as error:
        raise WganError(f"{path}: can't be written ({error.strerror})") from error
    log.info("%s: %s", path, what)
