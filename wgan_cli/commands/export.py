"""`wgan export`: writes a trained generator as a file for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from wgan_cli.commands.options import Best, Checkpoint, Run, named_run
from wgan_cli.paths import expanded

Out = Annotated[
    Path,
    typer.Option(
        help="The file: .onnx for onnxruntime, .pt2 for torch.export.load, .safetensors for wgan sample.",
        metavar="FILE",
    ),
]
Card = Annotated[
    Path | None, typer.Option(help="Write a model card too, with a picture of samples beside it.", metavar="README.md")
]
Raw = Annotated[bool, typer.Option("--raw", help="The last weights, not the averaged ones.")]


def export(
    out: Out, run: Run = None, ckpt: Checkpoint = None, raw: Raw = False, best: Best = False, card: Card = None
) -> None:
    """Write a generator for other programs, and print its path.

    Its samples are those of wgan sample: in the units, type and layout of the data. It takes latents (N, dim) and, for
    a run with a condition, encoded conditions; the file says how they are encoded.
    """
    from wgan_cli.devices import pick_device
    from wgan_cli.export.files import check_out, write
    from wgan_cli.runs.loaded import load_run

    target = named_run(run, ckpt)
    out, card = expanded(out), card and expanded(card)
    check_out(out, card, target)
    write(load_run(target, pick_device("cpu"), raw=raw, best=best), target, out, card, raw=raw)
    typer.echo(out)
