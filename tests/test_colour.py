"""Colour on a terminal: there, and nowhere else."""

import io
import logging

import pytest

from wgan_cli.commands.colour import Lines, styled


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def test_a_terminal_has_colour_and_a_file_has_none() -> None:
    assert styled("x", Terminal(), fg="red") == "\x1b[31mx\x1b[0m"
    assert styled("x", io.StringIO(), fg="red") == "x"
    assert styled("x", None, fg="red") == "x"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_wants_no_colour_gets_none(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert styled("x", Terminal(), fg="red") == "x"


def test_levels_differ_by_the_colour_of_the_name() -> None:
    def line(level: int, stream: io.StringIO) -> str:
        return Lines(stream).format(logging.LogRecord("wgan", level, "", 0, "%s is small", ("lr",), None))

    shown = [line(level, Terminal()) for level in (logging.INFO, logging.WARNING, logging.ERROR)]
    assert len(set(shown)) == 3
    assert all(each.endswith("\x1b[0m lr is small") for each in shown)
    assert line(logging.WARNING, io.StringIO()) == "wgan: lr is small"
