"""`wgan configs`: lists and prints the configs that come with wgan."""

import json
from typing import Annotated

import typer

from wgan_cli.commands.completion import shipped_names
from wgan_cli.config import shipped
from wgan_cli.errors import BadInputError

Name = Annotated[str | None, typer.Argument(help="The config to print.", metavar="NAME", autocompletion=shipped_names)]
Schema = Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a config, for editors.")]


def configs(name: Name = None, schema: Schema = False) -> None:
    """List the configs that come with wgan, or print one."""
    if schema:
        if name is not None:
            raise BadInputError(f"--schema: is of every config; leave {name} out")
        from wgan_cli.config.run_config import RunConfig

        typer.echo(json.dumps(RunConfig.model_json_schema(), indent=2, ensure_ascii=False))
    elif name is not None:
        typer.echo(shipped.portable(name), nl=False)
    else:
        width = max(map(len, shipped.names()))
        for each in shipped.names():
            typer.echo(f"{each:{width}}  {shipped.title(each)}")
