"""How `--help` shows arguments."""

from typing import Any

from typer.core import TyperCommand


class Command(TyperCommand):
    """A command whose help names each argument by its metavar alone, whatever Typer's version adds to it.

    A usage line says `NAME` for what is needed, `[NAME]` for what may be left out, and `NAME...` for one or more.
    """

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words of the usage line after the command."""
        return [self.options_metavar or "", *map(_usage, self._arguments(ctx))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the lists of arguments and options."""
        arguments = self._arguments(ctx)
        options = [param for param in self.get_params(ctx) if param not in arguments]
        for title, params in (("Arguments", arguments), ("Options", options)):
            rows = [record for param in params if (record := _record(param, ctx))]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def _arguments(self, ctx: Any) -> list[Any]:
        return [param for param in self.get_params(ctx) if param.param_type_name == "argument"]


def _record(param: Any, ctx: Any) -> tuple[str, str] | None:
    """The name and the text of a row; None for what help does not show."""
    record = param.get_help_record(ctx)
    return (param.metavar, record[1]) if record and param.param_type_name == "argument" else record


def _usage(argument: Any) -> str:
    word = argument.metavar + ("..." if argument.nargs != 1 else "")
    return word if argument.required else f"[{word}]"
