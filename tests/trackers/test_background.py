import logging
import sys
import threading
from collections.abc import Mapping

import numpy as np
import pytest

from wgan_cli.trackers.background import Background
from wgan_cli.trackers.base import Tracker


class Recorder(Tracker):
    """Notes what it takes; raises at the call that is named."""

    def __init__(self, taken: list[object], fails_at: str = "") -> None:
        self.taken, self.fails_at = taken, fails_at
        self.take("open")

    def take(self, name: str, *what: object) -> None:
        if name == self.fails_at:
            raise ConnectionError(f"{name}: no route to host\nand more")
        self.taken.append((name, *what, threading.current_thread().name))

    def scalars(self, figures: Mapping[str, float], step: int) -> None:
        self.take("scalars", dict(figures), step)

    def picture(self, pixels: np.ndarray, step: int) -> None:
        self.take("picture", pixels.shape, step)

    def close(self, state: str) -> None:
        self.take("close", state)


def use(tracker: Tracker) -> None:
    tracker.scalars({"critic/gap": 1.5}, 1)
    tracker.picture(np.zeros((4, 5, 3), np.uint8), 1)
    tracker.flush()
    tracker.close("finished")


def test_all_calls_reach_the_tracker_in_order_on_its_own_thread() -> None:
    taken: list[object] = []
    use(Background("fake", lambda: Recorder(taken)))
    assert taken == [
        ("open", "fake"),
        ("scalars", {"critic/gap": 1.5}, 1, "fake"),
        ("picture", (4, 5, 3), 1, "fake"),
        ("close", "finished", "fake"),
    ]


@pytest.mark.parametrize("fails_at", ["open", "scalars", "picture", "close"])
def test_a_tracker_that_fails_is_told_once_and_ends_nothing(fails_at: str, caplog: pytest.LogCaptureFixture) -> None:
    taken: list[object] = []
    use(Background("fake", lambda: Recorder(taken, fails_at)))
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    expected = f"output.report: fake failed, and gets nothing more of this run ({fails_at}: no route to host)"
    assert warning.getMessage() == expected
    assert [entry[0] for entry in taken] == ["open", "scalars", "picture", "close"][: len(taken)]
    assert len(taken) == ["open", "scalars", "picture", "close"].index(fails_at)


def test_nothing_is_kept_for_a_tracker_that_has_failed() -> None:
    background = Background("fake", lambda: Recorder([], "open"))
    background._thread.join()
    figures = {"critic/gap": 1.5}
    held = sys.getrefcount(figures)
    background.scalars(figures, 1)
    assert sys.getrefcount(figures) == held


def test_a_tracker_that_hangs_delays_the_end_of_a_run_by_no_more_than_its_patience(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Background, "PATIENCE", 0.05)
    hangs = threading.Event()

    class Hanging(Recorder):
        def scalars(self, figures: Mapping[str, float], step: int) -> None:
            hangs.wait(60)

    use(Background("fake", lambda: Hanging([])))
    hangs.set()
    assert "fake did not take all in" in caplog.text
