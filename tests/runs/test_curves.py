from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers import TINY_MNIST, metrics
from tests.runs.helpers import make_run
from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.errors import BadInputError
from wgan_cli.plots.curves import curves_figure
from wgan_cli.runs.curves import read_curves
from wgan_cli.runs.folder import RunFolder
from wgan_cli.runs.loaded import load_run
from wgan_cli.training.loop import train_run

CPU = torch.device("cpu")


def trained(config: str, out: Path, *overrides: str) -> Path:
    return train_run(load_config(config, ["training.iterations=2", *overrides]), CPU, out=out, name="x")


def test_figures_and_samples_of_plain_values_are_read(tmp_path: Path) -> None:
    path = trained("normal_gp", tmp_path / "run", "output.log_every=1")
    (curves,) = read_curves([path], count=7)
    assert curves.name == "run"
    assert [line["step"] for line in curves.lines] == [1, 2]
    assert curves.lines == metrics(path)
    assert curves.samples is not None
    assert torch.equal(curves.samples, load_run(str(path), CPU).sample(range(7)))
    assert list(curves.grids) == [0, 2]


def test_runs_of_images_show_their_grids(tmp_path: Path, made_up_mnist: Path) -> None:
    tiny = [option.removeprefix("--set=") for option in TINY_MNIST]
    path = trained("mnist_gp", tmp_path / "run", *tiny, f"data.root={made_up_mnist}", "output.sample_every=1")
    (curves,) = read_curves([path])
    assert curves.samples is None
    assert list(curves.grids) == [0, 1, 2]


def test_runs_of_the_same_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    paths = [trained("normal_gp", tmp_path / name) for name in ("a/run", "b/run", "c/other")]
    assert [curves.name for curves in read_curves(paths, count=1)] == [str(paths[0]), str(paths[1]), "other"]
    again = [paths[2], paths[0], paths[2].parent / "." / "other"]
    assert [curves.name for curves in read_curves(again, count=1)] == ["other", "run"]


def test_a_run_without_a_checkpoint_is_drawn_without_samples(
    tmp_path: Path, config: RunConfig, caplog: pytest.LogCaptureFixture
) -> None:
    young = tmp_path / "young"
    make_run(young, 10)
    with RunFolder(young, config, 10, CPU) as folder:
        folder.picture(lambda: np.zeros((4, 5, 3), np.uint8), 10)
    (curves,) = read_curves([young])
    assert curves.samples is None
    assert f"holds no checkpoint (checkpoints/*.pt); name a run's folder or its file; {young} is drawn" in caplog.text
    *panels, strip = curves_figure([curves]).axes
    assert [axes.get_title().partition(":")[0] for axes in panels] == ["gap", "W1"]
    assert strip.get_title() == "young: iteration 10"


def test_a_folder_without_figures_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="name a run's folder"):
        read_curves([tmp_path])


def test_a_folder_without_a_run_hides_no_other(run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "metrics.jsonl").write_text('{"step": 1}\n')
    (curves,) = read_curves([tmp_path / "half", run], count=1)
    assert curves.name == run.name
    assert f"{tmp_path / 'half'}: holds no run, as it has no config.yaml; left out" in caplog.messages
    with pytest.raises(BadInputError, match="holds no run, as it has no config"):
        read_curves([tmp_path / "half"])
