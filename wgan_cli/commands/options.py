"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from wgan_cli.commands.completion import devices, runs_or_checkpoints
from wgan_cli.commands.mistaken import refuse_no_run
from wgan_cli.errors import BadInputError
from wgan_cli.paths import expanded

Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:1, mps, ...", metavar="DEVICE", autocompletion=devices)
]
Best = Annotated[bool, typer.Option("--best", help="The run's best checkpoint, not the newest one.")]
Run = Annotated[
    str | None,
    typer.Argument(help="A run's folder, or one checkpoint file.", metavar="RUN", autocompletion=runs_or_checkpoints),
]
Checkpoint = Annotated[
    str | None,
    typer.Option("--ckpt", help="The same as RUN.", metavar="RUN|FILE", autocompletion=runs_or_checkpoints),
]
Key = Annotated[str | None, typer.Option(help="The array of an .npz file.", metavar="NAME")]
Channels = Annotated[
    Literal["first", "last", "none"] | None,
    typer.Option(
        help="Where an array's channels are: first, last, or none. [default: as its shape suggests]", metavar="PLACE"
    ),
]
Drop = Annotated[str | None, typer.Option(help="Columns of tables that are left out.", metavar="NAME,NAME")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def listed(text: str | None) -> list[str]:
    """The names of an option, between commas."""
    return list(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))


def a_path(text: str | Path) -> Path:
    """The value of an option or argument that is a path. Raises a usage error, which names the option, for no path."""
    try:
        return expanded(text)
    except BadInputError as error:
        raise typer.BadParameter(str(error)) from error


def an_output(text: str | Path) -> Path:
    """The value of an option that is a file or folder to write."""
    if str(text) == "-":
        raise typer.BadParameter("- would be stdout, but this is written to a file or folder; name one")
    return a_path(text)


def named_run(run: str | None, ckpt: str | None) -> str:
    """The run that a command is about. It is named as an argument, by --ckpt, or alike by both."""
    missing = "no run is named; name its folder, or a checkpoint file: `wgan runs` lists runs"
    named = named_once(run, "--ckpt", ckpt, missing)
    refuse_no_run(named)
    return named


def named_once(argument: str | None, option: str, value: str | None, missing: str) -> str:
    """What an argument names, or the option `option`, or both alike.

    Raises `BadInputError` if they differ, and with the message `missing` if there is neither.
    """
    if argument and value and argument != value:
        raise BadInputError(f"{option} {value}: differs from {argument}; leave one of them out")
    named = argument or value
    if not named:  # or empty, as an unset variable of a shell
        raise BadInputError(missing)
    return named
