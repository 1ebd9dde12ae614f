"""The data of a run: nothing else is written to its place, and a change of it is told."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Wgan

MLP = [
    "--set=generator={kind: mlp, hidden: [8]}",
    "--set=critic={kind: mlp, hidden: [8]}",
    "--set=training={iterations: 2, batch_size: 8}",
]


@pytest.fixture
def table(wgan: Wgan) -> Path:
    """A table, and a run that was trained on it, given its first column."""
    rows = np.random.default_rng(0).normal(size=(60, 3)).round(3)
    np.savetxt("x.csv", rows, delimiter=",", header="a,b,c", comments="")
    condition = "--set=condition={kind: columns, names: [a]}"
    assert wgan("train", "table_gp", "--set=data={kind: arrays, path: x.csv}", condition, *MLP, "--out=run").code == 0
    return Path("x.csv").absolute()


@pytest.fixture
def pictures(wgan: Wgan) -> Path:
    """A folder of pictures, and a run that was trained on it."""
    Path("pics").mkdir()
    for i in range(60):
        Image.new("L", (8, 8), i).save(f"pics/{i:02d}.png")
    data = "--set=data={kind: images, path: pics, size: 8, channels: 1}"
    assert wgan("train", "mnist_mlp_gp", data, *MLP, "--out=run").code == 0
    return Path("pics").absolute()


@pytest.mark.parametrize("out", ["x.csv", "./x.csv", "link.csv"])
def test_samples_do_not_replace_the_table_of_their_run(wgan: Wgan, table: Path, out: str) -> None:
    Path("link.csv").symlink_to(table)
    before = table.read_bytes()
    refused = wgan("sample", "run", "--num=5", f"--out={out}")
    assert refused.code == 2
    assert f"--out {Path(out)}: holds the data; name another place" in refused.err
    assert table.read_bytes() == before


def test_samples_do_not_replace_the_rows_they_were_asked_by(wgan: Wgan, table: Path) -> None:
    Path("rows.csv").write_text("a\n0.5\n")
    refused = wgan("sample", "run", "--given-from=rows.csv", "--out=rows.csv")
    assert refused.code == 2
    assert "--out rows.csv: holds the data" in refused.err
    assert Path("rows.csv").read_text() == "a\n0.5\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("sample", "run", "--out=pics"), "--out pics: holds the data"),
        (("sample", "run", "--out=pics/new"), "among the data"),
        (("sample", "run", "--out=pics/new.png"), "among the data"),
        (("evaluate", "run", "--plot=pics/new.png"), "--plot pics/new.png: is in "),
        (("data", "pics", "--plot=pics/new.png"), "--plot pics/new.png: is in pics, among the data"),
        (("plot", "run", "--out=pics/new.png"), "--out pics/new.png: is in "),
        (("plot", "run", "--out=pics/new.gif"), "--out pics/new.gif: is in "),
        (("evaluate", "run", "--nearest=pics/new.png"), "--nearest pics/new.png: is in "),
    ],
)
def test_no_picture_gets_among_those_of_the_run(
    wgan: Wgan, pictures: Path, command: tuple[str, ...], message: str
) -> None:
    refused = wgan(*command)
    assert refused.code == 2
    assert message in refused.err
    assert len(list(pictures.iterdir())) == 60


def test_no_run_is_begun_among_its_pictures(wgan: Wgan, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = wgan("train", "run/config.yaml", "--out=pics/run")
    assert refused.code == 2
    assert "--out pics/run: is in " in refused.err
    monkeypatch.chdir(pictures)
    assert "among the data" in wgan("train", "../run/config.yaml").err
    assert len(list(pictures.iterdir())) == 60


def test_an_evaluation_on_other_data_than_the_run_s_is_told(wgan: Wgan, table: Path) -> None:
    told = f"{table}: has changed since the run was trained"
    assert told not in wgan("evaluate", "run", "--num=5").err
    table.write_text(table.read_text() + "1,2,3\n")
    done = wgan("evaluate", "run", "--num=5")
    assert done.code == 0
    assert told in done.err
    refused = wgan("train", "run/config.yaml", "--out=run", "--resume", "--set=training.iterations=4")
    assert refused.code == 2
    assert f"{table}: the data has changed since the run began" in refused.err
