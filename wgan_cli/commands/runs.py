"""`wgan runs`: lists runs."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from wgan_cli.commands.options import AsJson, a_path
from wgan_cli.commands.printing import print_json, print_table

Folder = Annotated[Path, typer.Argument(parser=a_path, help="The folder to search.", metavar="FOLDER")]
FOLDER = Path("runs")
"""Where `wgan train` begins runs."""
HEAD = ("run", "iteration", "state", "gap", "W1 estimate", "truth", "floor", "it/s", "last written (UTC)")


def runs(folder: Folder = FOLDER, as_json: AsJson = False) -> None:
    """List the runs below a folder, with their states and figures."""
    from wgan_cli.runs.listing import summaries

    is_fresh = folder == FOLDER and not folder.exists()  # nothing was trained here yet
    found, faults = ([], []) if is_fresh else summaries(folder)
    for fault in faults:
        logging.getLogger("wgan").warning(fault)
    if as_json:
        print_json({"runs": [run.to_dict() for run in found]})
    elif not found:
        logging.getLogger("wgan").info("%s: holds no runs", folder)
    else:
        print_table(HEAD, [_row(run) for run in found])


def _row(run: Any) -> tuple[str, ...]:
    return (
        run.name,
        f"{run.step:,} / {run.iterations:,}",
        run.state,
        *(_cell(value) for value in (run.gap, run.w1, run.truth, run.floor, run.iterations_per_second)),
        run.last_written.removesuffix("+00:00").replace("T", " "),
    )


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
