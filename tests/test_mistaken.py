"""Names that are mistaken for those of a config or a run, and keys of a config for options."""

import shutil
from pathlib import Path

import pytest
import torch

from tests.conftest import Wgan
from wgan_cli.config.load import load_config
from wgan_cli.training.loop import train_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = load_config("normal_gp", ["training.iterations=2", "training.batch_size=16"])
    return train_run(config, torch.device("cpu"), out=tmp_path_factory.mktemp("runs") / "run", name="x")


@pytest.fixture
def here(wgan: Wgan, trained: Path) -> Path:
    """The current folder, with a run below `runs`, a config, data, and a folder without either."""
    shutil.copytree(trained, "runs/first")
    Path("mine.yaml").write_text("seed: 0\n")
    Path("table.csv").write_text("a,b\n1,2\n")
    Path("notes").mkdir()
    Path("my pictures").mkdir()
    shutil.copytree(trained, "left/inner")
    shutil.copy("left/inner/config.yaml", "left")
    shutil.copy("left/inner/metrics.jsonl", "left")
    Path("-x.csv").write_text("1,2\n")
    Path("g.onnx").write_bytes(b"x")
    return Path()


def refused(wgan: Wgan, line: str, message: str) -> None:
    result = wgan(*line.split())
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"wgan: {message}"), result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train table.csv", "table.csv: holds data, no config; `wgan init --data table.csv` writes one"),
        ("train runs/first", "runs/first: is a run, no config; `wgan train runs/first/config.yaml --out "),
        ("train notes", "notes: is a folder; name a config file"),
        ("train runs", "runs: is a folder of runs; name one of them, such as runs/first"),
        ("train ./-x.csv", "./-x.csv: holds data, no config; `wgan init --data ./-x.csv` writes one"),
        (
            "sample runs/first/config.yaml",
            "runs/first/config.yaml: is the config of a run; name the run's folder",
        ),
        ("sample left", "left: holds no checkpoint"),
        ("sample g.onnx", "g.onnx: is a generator for other programs; name its run, or a .safetensors file"),
        ("distance table.csv runs/first", "runs/first: is a run, no set of samples; `wgan evaluate runs/first`"),
        ("search nospace.yaml --out s", "nospace.yaml: can't be read (No such file or directory)"),
        ("data nothing", "nothing: no such file or folder"),
        ("evaluate table.csv", "table.csv: holds data, no run; `wgan distance table.csv OTHER` compares it"),
        ("sample --ckpt mine.yaml", "mine.yaml: is a config, no run; `wgan train mine.yaml` trains one"),
        ("export normal_gp --out g.onnx", "normal_gp: is a config, no run; `wgan train normal_gp` trains one"),
        ("sample runs", "runs: is a folder of runs; name one of them, such as runs/first: `wgan runs runs` lists all"),
        ("plot runs", "runs: is a folder of runs"),
        ("plot runs/first table.csv", "table.csv: holds data, no run"),
        ("plot notes", "notes: its metrics.jsonl can't be read (No such file or directory)"),
        ("sample notes", "notes: holds no checkpoint"),
        ("sample nothing", "nothing: no such run folder or checkpoint file"),
    ],
)
def test_what_is_meant_is_told(wgan: Wgan, line: str, message: str) -> None:
    refused(wgan, line, message)


@pytest.mark.usefixtures("here")
def test_told_lines_can_be_copied(wgan: Wgan) -> None:
    assert "`wgan init --data 'my pictures'`" in wgan("train", "my pictures").err


@pytest.mark.usefixtures("here")
def test_what_is_left_of_a_run_is_drawn_though_runs_are_below_it(wgan: Wgan) -> None:
    assert wgan("plot", "left").code == 0


def test_the_line_that_is_told_goes_on_with_the_run(wgan: Wgan, here: Path) -> None:
    told = wgan("train", "runs/first").err.split("`")[1].split()[1:]
    result = wgan(*told)
    assert (result.code, result.out) == (0, "runs/first\n")


def test_a_run_with_the_name_of_a_config_is_a_run(wgan: Wgan, here: Path) -> None:
    (here / "runs" / "first").rename("normal_gp")
    assert wgan("sample", "normal_gp", "--num", 2).code == 0
    assert wgan("train", "normal_gp", "--dry-run").code == 0  # here the name is a config's


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--iterations", "; did you mean --set training.iterations=VALUE? (see"),
        ("--batch-size", "; did you mean --set training.batch_size=VALUE? (see"),
        ("--training.iterations", "; did you mean --set training.iterations=VALUE? (see"),
        ("--lr", "; did you mean --set optimizer.generator.lr=VALUE or --set optimizer.critic.lr=VALUE? (see"),
    ],
)
def test_an_option_with_the_name_of_a_key_is_set(wgan: Wgan, option: str, meant: str) -> None:
    result = wgan("train", "normal_gp", option, 5)
    assert result.code == 2
    assert meant in result.err


@pytest.mark.parametrize(
    "line",
    ["train normal_gp --kind 5", "train normal_gp --data 5", "train normal_gp --quickly", "sample x --iterations 5"],
)
def test_other_options_are_refused_without_a_guess(wgan: Wgan, line: str) -> None:
    result = wgan(*line.split())
    assert result.code == 2
    assert "No such option" in result.err
    assert "--set" not in result.err


def test_a_config_is_no_space_and_a_kind_of_data_no_file(here: Path, wgan: Wgan) -> None:
    refused(
        wgan, "search normal_gp --out found", "normal_gp: is a config; a search needs a YAML file with keys such as"
    )
    refused(wgan, "data mnist", "mnist: is a kind of data, no file or folder; configs have it as data: {kind: mnist}")
    (here / "mnist").mkdir()
    refused(wgan, "data mnist", "mnist: ")
