import io
import logging
import sys

import pytest

from wgan_cli import bars
from wgan_cli.bars import in_words, tracked


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that `bars` sees, in seconds."""
    now = [1000.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    return now


def lines(
    clock: list[float], caplog: pytest.LogCaptureFixture, *, sized: bool, seconds: float, count: int
) -> list[str]:
    """What is logged while each of `count` items takes so many seconds."""
    caplog.set_level(logging.INFO, "wgan")
    items = range(count) if sized else iter(range(count))
    seen = []
    for item in tracked(items, "digits"):
        seen.append(item)
        clock[0] += seconds
    assert seen == list(range(count))
    return [record.getMessage() for record in caplog.records]


def test_what_takes_long_is_told_off_a_terminal(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    assert lines(clock, caplog, sized=True, seconds=6, count=5) == [
        "digits: 2 of 5, 00:18 left",
        "digits: 4 of 5, 00:06 left",
    ]


def test_without_a_length_only_the_count_is_told(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    assert lines(clock, caplog, sized=False, seconds=10, count=3) == ["digits: 1", "digits: 2"]


def test_what_is_short_is_not_told(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    assert lines(clock, caplog, sized=True, seconds=1, count=10) == []
    assert lines(clock, caplog, sized=True, seconds=1, count=0) == []


def test_a_terminal_has_a_bar_and_no_lines(
    clock: list[float], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert lines(clock, caplog, sized=True, seconds=60, count=3) == []
    assert "digits" in terminal.getvalue()


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "00:00"), (90, "01:30"), (7290, "2:01:30")])
def test_times_are_short(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
