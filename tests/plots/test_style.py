from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.plots.helpers import curves, scene
from wgan_cli.data.normal import Normal
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.plots.curves import curves_figure
from wgan_cli.plots.samples import density_figure
from wgan_cli.plots.style import check_path, save, write_png


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_a_figure_is_written_as_its_ending_says(tmp_path: Path, ending: str) -> None:
    figure = curves_figure([curves("one", Normal(), critic__gap=1.0)])
    save(figure, tmp_path / f"x{ending}")
    begins = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[ending]
    assert (tmp_path / f"x{ending}").read_bytes().startswith(begins)


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    for bad, reason in (("x.jpg", "--out .*x.jpg: must end in"), ("no/x.png", "there is no folder")):
        with pytest.raises(BadInputError, match=reason):
            check_path(tmp_path / bad, "--out")


def test_a_failed_write_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    figure = density_figure(scene(torch.randn(9, 1), Normal()))
    with pytest.raises(WganError, match=r"x\.png: can't be written"):
        save(figure, tmp_path / "x.png")
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_holds_the_pixels(tmp_path: Path, channels: int) -> None:
    pixels = np.arange(2 * 4 * channels, dtype=np.uint8).reshape(2, 4, channels)
    write_png(tmp_path / "x.png", pixels)
    image = Image.open(tmp_path / "x.png")
    assert image.mode == {1: "L", 3: "RGB"}[channels]
    assert np.array(image).reshape(pixels.shape).tolist() == pixels.tolist()
