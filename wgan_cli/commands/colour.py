"""Colour, where a person reads on a terminal."""

import logging
import os
from typing import Any, TextIO

import typer

_STYLES: dict[int, dict[str, Any]] = {
    logging.INFO: {"fg": "cyan"},
    logging.WARNING: {"fg": "yellow", "bold": True},
    logging.ERROR: {"fg": "red", "bold": True},
}


def styled(text: str, stream: TextIO | None, **style: Any) -> str:
    """The text in a style, if the stream is a terminal with colours and NO_COLOR (no-color.org) is not set."""
    has_colour = stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    return typer.style(text, **style) if has_colour and not os.environ.get("NO_COLOR") else text


def name_of(stream: TextIO | None, level: int) -> str:
    """`wgan:`, which begins each line on stderr, in the colour of its level."""
    return styled("wgan:", stream, **_STYLES[level])


class Lines(logging.Formatter):
    """Log messages as lines that begin with the name of the program."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._names = {level: name_of(stream, level) for level in _STYLES}

    def format(self, record: logging.LogRecord) -> str:
        return f"{self._names.get(record.levelno, 'wgan:')} {super().format(record)}"
