"""`wgan init`: writes a config to start from."""

import logging
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from wgan_cli.commands.completion import shipped_names
from wgan_cli.commands.options import Channels, Drop, Key, a_path, listed
from wgan_cli.errors import BadInputError, WganError

log = logging.getLogger("wgan")
Name = Annotated[
    str | None,
    typer.Argument(
        help="The shipped config to start from. [default: normal_gp, or what fits --data]",
        metavar="NAME",
        autocompletion=shipped_names,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(parser=a_path, help="Your data: a file of samples, a folder of pictures, or a .zip.", metavar="PATH"),
]
Out = Annotated[Path, typer.Option(parser=a_path, help="The config to write; - is stdout.", metavar="FILE")]
Force = Annotated[bool, typer.Option("--force", help="Replace the file, if there is one.")]


def init(
    name: Name = None,
    data: Data = None,
    key: Key = None,
    channels: Channels = None,
    drop: Drop = None,
    out: Out = Path("config.yaml"),
    force: Force = False,
) -> None:
    """Write a config with comments to start from, and print its path."""
    if name is not None and data is not None:
        raise BadInputError(f"--data picks the recipe that fits; leave {name} out")
    if key is not None and data is None:
        raise BadInputError("--key: names an array of --data, which is missing")
    if channels is not None and data is None:
        raise BadInputError("--channels: says how arrays of --data are read, which is missing")
    if drop is not None and data is None:
        raise BadInputError("--drop: names columns of --data, which is missing")
    to_stdout = out == Path("-")
    if not to_stdout:
        _check_out(out, force)
    from wgan_cli.config.start import for_data, from_shipped

    found = _survey(data, key, channels, drop)
    text = from_shipped(name or "normal_gp") if found is None or data is None else for_data(found, data.name)
    for warning in found.warnings(str(data)) if found else ():
        log.warning(warning)
    if to_stdout:
        typer.echo(text, nl=False)
        return
    _write(out, text, force)
    if not (found and found.facts.get("missing")):  # which no run takes
        log.info("next: %s", shlex.join(["wgan", "train", str(out)]))
    typer.echo(out)


def _survey(data: Path | None, key: str | None, channels: Any, drop: str | None) -> Any:
    from wgan_cli.data.survey import survey

    return None if data is None else survey(data, key, channels, listed(drop))


def _check_out(out: Path, force: bool) -> None:
    if out.is_dir():
        raise BadInputError(f"--out {out}: is a folder; name a file")
    if not out.parent.is_dir():
        raise BadInputError(f"--out {out}: there is no folder {out.parent}; make it first")
    if out.exists() and not force:
        raise BadInputError(f"--out {out}: exists; name another file, or replace it by --force")


def _write(out: Path, text: str, force: bool) -> None:
    from wgan_cli.files import write_atomically

    try:
        if force:
            write_atomically(out, text.encode())
        else:
            with out.open("x", encoding="utf-8") as file:  # never over a file that another process made by now
                file.write(text)
    except OSError as error:
        raise WganError(f"--out {out}: can't be written ({error.strerror})") from error
