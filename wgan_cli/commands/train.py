"""`wgan train`: trains a run."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from wgan_cli.commands.completion import config_names
from wgan_cli.commands.mistaken import refuse_no_config
from wgan_cli.commands.options import Device, an_output, named_once
from wgan_cli.config import shipped
from wgan_cli.errors import BadInputError

Name = Annotated[
    str | None,
    typer.Argument(
        help="A YAML file, or the name of a config that `wgan configs` lists.",
        metavar="CONFIG",
        autocompletion=config_names,
    ),
]
Config = Annotated[
    str | None, typer.Option(help="The same as CONFIG.", metavar="FILE|NAME", autocompletion=config_names)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set one key, such as training.iterations=10. Can be repeated.", metavar="KEY=VALUE"),
]
Out = Annotated[
    Path | None,
    typer.Option(parser=an_output, help="The run's folder. [default: runs/NAME-NNNN, a new number]", metavar="DIR"),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in --out, if there is one.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved config with sizes and shapes, and write nothing.")
]


def train(
    name: Name = None,
    config: Config = None,
    overrides: Overrides = None,
    out: Out = None,
    resume: Resume = False,
    device: Device = "auto",
    dry_run: DryRun = False,
) -> None:
    """Train from a config, and print the run's folder."""
    chosen = named_once(name, "--config", config, "no config is named; name a file, or one that `wgan configs` lists")
    refuse_no_config(chosen)
    if resume and out is None:
        raise BadInputError("--resume needs --out DIR, the folder of the run to go on with")
    from wgan_cli.config.load import load_config
    from wgan_cli.training.distributed import find_world, joined

    world = find_world()
    resolved = load_config(chosen, overrides or (), world.size)
    for warning in resolved.warnings():
        logging.getLogger("wgan").warning(warning)
    from wgan_cli.devices import pick_device

    where = pick_device(device, world.local_rank if world.size > 1 else None)
    if dry_run:
        from wgan_cli.data.places import check_apart
        from wgan_cli.runs.folder import refuse_unless_free
        from wgan_cli.trackers import check_trackers

        check_trackers(resolved)
        if out is not None:
            check_apart(out, resolved.data.places, "--out")
            refuse_unless_free(out, resume)
        if world.is_first:
            _describe(resolved)
        return
    from wgan_cli.training.loop import train_run

    with joined(world, where):
        path = train_run(
            resolved,
            where,
            out=out,
            name=shipped.run_name(chosen),
            resume=resume,
            world=world,
            process_ends=True,
        )
    if world.is_first:
        typer.echo(path)


def _describe(resolved: Any) -> None:
    """Prints the YAML of a run, and the sizes and shapes of its networks as comments."""
    import torch

    from wgan_cli.networks.base import parameter_count

    batch = resolved.training.batch_size
    with torch.device("meta"):  # without memory, so that networks of any size can be described
        networks = resolved.networks()
    sizes = "x".join(map(str, (batch, *resolved.sample_shape)))
    width = resolved.condition.width(resolved.data) if resolved.condition else 0
    inputs = f"{batch}x{resolved.latent.dim + width}"
    typer.echo(resolved.to_yaml(), nl=False)
    typer.echo(f"# generator: {parameter_count(networks.generator):,} parameters, {inputs} -> {sizes}")
    typer.echo(f"# critic: {parameter_count(networks.critic):,} parameters, {sizes} -> {batch}")
