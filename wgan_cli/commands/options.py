"""Options that several commands have."""

from typing import Annotated

import typer

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps, ...", metavar="DEVICE")]
Best = Annotated[bool, typer.Option("--best", help="The run's best checkpoint, not the newest one.")]
Checkpoint = Annotated[str, typer.Option("--ckpt", help="A run's folder, or one checkpoint file.", metavar="RUN|FILE")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]
