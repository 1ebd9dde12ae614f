"""A tracker on a thread of its own."""

import logging
import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue

from wgan_cli.data.pixels import Pixels
from wgan_cli.trackers.base import Tracker

log = logging.getLogger("wgan")
Call = Callable[[Tracker], None]


class Background(Tracker):
    """Passes all calls, in order, to a tracker that is opened and used on another thread.

    So a run neither waits for a network nor fails by it: at the tracker's first error, a warning is logged, and nothing
    more is passed on.
    """

    PATIENCE = 60.0
    """Seconds that `close` waits for what has not been passed on yet."""

    def __init__(self, name: str, opened: Callable[[], Tracker]) -> None:
        self._name, self._calls = name, SimpleQueue[Call | None]()
        self._thread = threading.Thread(target=self._work, args=(opened,), name=name, daemon=True)
        self._thread.start()

    def _work(self, opened: Callable[[], Tracker]) -> None:
        try:
            tracker = opened()
            while (call := self._calls.get()) is not None:
                call(tracker)
        except Exception as error:  # noqa: BLE001 - whatever a service raises, the run goes on
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            log.warning("output.report: %s failed, and gets nothing more of this run (%s)", self._name, reason)

    def _pass_on(self, call: Call) -> None:
        if self._thread.is_alive():  # else nobody would take it, and the calls of a long run would fill the memory
            self._calls.put(call)

    def scalars(self, figures: Mapping[str, float], step: int) -> None:
        self._pass_on(lambda tracker: tracker.scalars(figures, step))

    def picture(self, pixels: Pixels, step: int) -> None:
        self._pass_on(lambda tracker: tracker.picture(pixels, step))

    def close(self, state: str) -> None:
        self._pass_on(lambda tracker: tracker.close(state))
        self._calls.put(None)
        self._thread.join(self.PATIENCE)
        if self._thread.is_alive():
            log.warning("output.report: %s did not take all in %.0f s; the rest is lost", self._name, self.PATIENCE)
