"""Runs through time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.plots.helpers import curves
from wgan_cli.data.mnist import Mnist
from wgan_cli.data.normal import Normal
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.plots.animation import MOST_FRAMES, frames, save_animation
from wgan_cli.plots.curves import RunCurves
from wgan_cli.plots.style import RUN_COLOURS


def run(count: int = 5, *, figures: bool = True) -> RunCurves:
    """A run whose grid at iteration i is of grey 20 i, with a logged line each."""
    lines = [{"step": step, "critic/gap": 10.0 - step, "truth/w1": 5.0} for step in range(1, count)] if figures else []
    grids = {step: np.full((30, 40, 3), 20 * step % 256, np.uint8) for step in range(count)}
    return RunCurves("one", lines, Mnist(), None, grids)


def test_each_frame_shows_its_grid_and_the_curves_so_far() -> None:
    shown = list(frames(run()))
    assert {frame.shape for frame in shown} == {(500, 1000, 3)}
    greys = [int(np.median(frame[200:300, 200:300])) for frame in shown]
    assert greys == [0, 20, 40, 60, 80]
    drawn = [(frame[:, 560:] < 250).any(-1).sum() for frame in shown]  # on the right, where the curves are
    assert drawn == sorted(drawn)
    assert drawn[0] < drawn[1] < drawn[-1]


def test_the_last_frame_shows_all_that_was_logged() -> None:
    """Also after the last grid: a run that was stopped early has none but that of iteration 0."""
    whole = run()
    early = replace(whole, grids={0: whole.grids[0]})
    (only,) = frames(early)
    last = list(frames(whole))[-1]
    assert np.array_equal(only[:, 560:], last[:, 560:])


def test_curves_stand_beside_their_floor() -> None:
    plain = run()
    floored = replace(plain, lines=[{**line, "truth/w1_floor": 2.0} for line in plain.lines])
    (first, *_), (other, *_) = frames(plain), frames(floored)
    grey = [((frame[:, 560:] == 128).all(-1)).sum() for frame in (first, other)]
    assert grey[1] > grey[0] + 50  # a dash-dotted line in matplotlib's grey


def test_a_long_run_has_a_limited_number_of_frames() -> None:
    long = run(3 * MOST_FRAMES, figures=False)
    shown = list(frames(long, dpi=20))
    assert len(shown) == MOST_FRAMES
    assert [np.median(frame[40:60, 90:110]) for frame in (shown[0], shown[-1])] == [0, 20 * (3 * MOST_FRAMES - 1) % 256]


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_it_is_written_as_its_ending_says(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x.{ending}"
    save_animation(run(), path, dpi=40)
    with Image.open(path) as image:
        assert (image.format, image.n_frames, image.size, image.info["loop"]) == (ending.upper(), 5, (400, 200), 0)
        durations = []
        for i in range(5):
            image.seek(i)
            image.load()
            durations.append(image.info["duration"])
    assert durations == [500, 500, 500, 500, 2500]
    (tmp_path / f"folder.{ending}").mkdir()
    with pytest.raises(WganError, match="can't be written"):
        save_animation(run(), tmp_path / f"folder.{ending}", dpi=40)


def test_a_gif_keeps_its_curves_apart_beside_many_greys(tmp_path: Path) -> None:
    greys = np.linspace(0, 255, 500 * 500, dtype=np.uint8).reshape(500, 500, 1)
    lines = [{"step": i, "critic/w1": 1.0 * i, "critic/w1_low": 0.3 * i, "truth/w1": 2.0 * i} for i in range(5)]
    save_animation(RunCurves("one", lines, Mnist(), None, {4: greys}), tmp_path / "x.gif")
    with Image.open(tmp_path / "x.gif") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    for colour in RUN_COLOURS[:3]:
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (abs(pixels - wanted).max(-1) < 24).sum() > 50


def test_a_run_without_grids_is_refused() -> None:
    with pytest.raises(BadInputError, match="one: has no pictures of samples yet"):
        next(frames(curves("one", Normal(), critic__gap=1.0)))
