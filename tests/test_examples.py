"""The made-up data of the shipped examples, and that each of their configs trains on it."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Wgan
from tests.helpers import metrics
from tests.test_scripts import SCRIPTS


@pytest.mark.parametrize("name", ["table_gp", "given_gp", "series_gp", "field_gp"])
def test_each_example_trains_and_samples(name: str, wgan: Wgan, examples: Path) -> None:
    shutil.copytree(examples / "data", "data")
    tiny = ("--set=training.iterations=2", "--set=training.batch_size=8", "--set=output.log_every=1", "--device=cpu")
    result = wgan("train", "--config", name, *tiny, "--out=run")
    assert result.code == 0, result.err
    assert len(metrics(Path("run"))) == 2
    data = next(Path("data").glob(f"{name.removesuffix('_gp')}.*"))
    assert wgan("sample", "--ckpt=run", "--num=5", f"--out=new{data.suffix}").code == 0
    if data.suffix == ".npy":
        assert np.load("new.npy").shape == (5, *np.load(data).shape[1:])
    else:
        header = data.read_text().splitlines()[0]
        assert Path("new.csv").read_text().splitlines()[0] == header


def test_files_that_are_there_stay_as_they_are(examples: Path, tmp_path: Path) -> None:

    shutil.copytree(examples / "data", tmp_path / "data")
    (tmp_path / "data" / "table.csv").write_text("mine")
    (tmp_path / "data" / "series.npy").unlink()
    line = [sys.executable, SCRIPTS / "make_examples.py", tmp_path / "data", "--samples=60"]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    assert (tmp_path / "data" / "table.csv").read_text() == "mine"
    assert (tmp_path / "data" / "series.npy").read_bytes() == (examples / "data" / "series.npy").read_bytes()


def test_the_given_normal_has_its_mean_and_spread(examples: Path) -> None:
    c, x = np.loadtxt(examples / "data" / "given.csv", delimiter=",", skiprows=1).T
    errors = (x - 3 * c) / (1 + c)
    assert abs(errors.mean()) < 4 / np.sqrt(len(c))
    assert abs(errors.var() - 1) < 4 * np.sqrt(2 / len(c))
