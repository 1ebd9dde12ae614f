"""Which iteration of a run had the best samples, and whether more training still makes them better."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

SMOOTHED = 3
"""Evaluations whose mean counts as one, against noise."""


class Progress:
    """The judged iterations of a run: each has one figure of its samples, such as their distance to real ones.

    Smaller is better. The best iteration is the last one of the three in a row with the smallest mean; of fewer than
    three it is the newest.
    """

    def __init__(self, patience: int | None = None) -> None:
        """With `patience` N, the run is over when N evaluations in a row brought nothing beyond noise."""
        self._patience = patience
        self.steps: list[int] = []
        self.values: list[float] = []

    def add(self, step: int, value: float) -> None:
        """Adds the figure of an iteration."""
        self.steps.append(step)
        self.values.append(value)

    @property
    def best_step(self) -> int | None:
        """The iteration with the best samples; None before the first evaluation."""
        means = self._means()
        if not means:
            return self.steps[-1] if self.steps else None
        return self.steps[means.index(min(means)) + SMOOTHED - 1]

    @property
    def is_over(self) -> bool:
        """Whether `patience` evaluations in a row brought nothing beyond noise."""
        return self._patience is not None and self._waited() >= self._patience

    def _means(self) -> list[float]:
        """Of all three evaluations in a row."""
        starts = range(len(self.values) - SMOOTHED + 1)
        return [sum(self.values[start : start + SMOOTHED]) / SMOOTHED for start in starts]

    def _waited(self) -> int:
        """The number of evaluations since the last one that was better than all before by more than noise.

        The noise of one figure is estimated from the differences of neighbours, as von Neumann did (1941): these change
        little while the figure itself falls. That of the difference of two means of three is √(2/3) of it.
        """
        means, reference, waited = self._means(), math.inf, 0
        for end, mean in enumerate(means, SMOOTHED):
            recent = self.values[max(0, end - SMOOTHED - (self._patience or 0)) : end]
            squares = [(after - before) ** 2 / 2 for before, after in pairwise(recent)]
            noise = math.sqrt(sum(squares) / len(squares) * 2 / SMOOTHED) if squares else 0.0
            if mean < reference - noise:
                reference, waited = mean, 0
            else:
                waited += 1
        return waited

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on, in plain containers."""
        return {"steps": list(self.steps), "values": list(self.values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.steps, self.values = list(state["steps"]), list(state["values"])
