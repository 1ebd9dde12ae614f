"""`wgan data`: shows what a file or folder holds."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from wgan_cli.commands.mistaken import refuse_no_path_of_data
from wgan_cli.commands.options import AsJson, Channels, Drop, Key, a_path, an_output, listed
from wgan_cli.commands.pictures import checked_png, write_picture
from wgan_cli.commands.printing import print_facts, print_json

log = logging.getLogger("wgan")
Source = Annotated[
    Path, typer.Argument(parser=a_path, help="A file of samples, a folder of pictures, or a .zip.", metavar="PATH")
]
Plot = Annotated[Path | None, typer.Option(parser=an_output, help="Draw some samples: a .png file.", metavar="FILE")]


def data(
    path: Source,
    key: Key = None,
    channels: Channels = None,
    drop: Drop = None,
    as_json: AsJson = False,
    plot: Plot = None,
) -> None:
    """Show what a file or folder holds, and its line for a config."""
    from wgan_cli.data.places import check_apart
    from wgan_cli.data.survey import survey

    refuse_no_path_of_data(str(path))
    plot = checked_png(plot)
    found = survey(path, key, channels, listed(drop))
    if plot is not None:
        check_apart(plot, [str(path)], "--plot")
    try:
        if plot is not None:
            write_picture(_scene(found.spec), plot, "some of the samples")
    finally:
        for warning in found.warnings(str(path)):
            log.warning(warning)
        if as_json:
            print_json({**found.facts, "config": found.yaml_lines()})
        else:
            print_facts({name: fact for name, fact in found.facts.items() if not _says_little(name, fact, found.facts)})
            typer.echo(f"\n{found.yaml_lines()}")


def _says_little(name: str, fact: Any, facts: dict[str, Any]) -> bool:
    """Whether a reader would only wonder, no missing values, nothing unreadable, one range of all columns; or is told
    in a warning."""
    if name in ("missing", "unreadable"):
        return not fact
    is_warned_of = name in ("count up", "columns without numbers", "may be classes")
    return is_warned_of or (name == "range" and "columns" in facts)


def _scene(spec: Any) -> Any:
    """Some samples of the data, for a picture."""
    import torch

    from wgan_cli.plots.scene import Scene

    resolved = spec.resolved()
    dataset = resolved.load(torch.device("cpu"))
    state = dataset.state_dict()
    shown = dataset.real(
        64 if resolved.view in ("images", "fields") else 2000, torch.Generator().manual_seed(0), heldout=False
    )
    return Scene(shown, resolved, lambda samples: resolved.decoded(samples, state), is_real=True)
