import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.config.conftest import Write
from tests.config.helpers import faults
from wgan_cli.config import shipped
from wgan_cli.config.load import config_from_dict, load_config, load_spec
from wgan_cli.errors import BadInputError
from wgan_cli.evaluation.critic_fit import CriticFit
from wgan_cli.networks import Latent


def test_numbers_are_numbers(good: str) -> None:
    config = load_config(good)
    assert config.optimizer.generator.lr == 1e-4
    assert config.training.iterations == 1000
    betas = config.model_dump()["optimizer"]["generator"]["betas"]
    assert betas == (0.0, 0.9)
    assert all(isinstance(beta, float) for beta in betas)  # Adam refuses betas of mixed int and float


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="no /dev/fd here")
def test_a_config_is_read_from_a_shells_pipe(tmp_path: Path, good: str) -> None:
    reading, writing = os.pipe()
    os.write(writing, Path(good).read_bytes())
    os.close(writing)
    assert not load_config(f"/dev/fd/{reading}").differences(load_config(good))
    os.close(reading)
    os.mkfifo(tmp_path / "named")
    assert "no such file" in faults(str(tmp_path / "named"))[0]  # nobody writes to it: reading would never end


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/full"])
def test_what_has_no_end_is_not_read(device: str, tmp_path: Path) -> None:
    (tmp_path / "link.yaml").symlink_to(device)
    os.mkfifo(tmp_path / "pipe")
    for path in (Path(device), tmp_path / "link.yaml", tmp_path / "pipe"):
        with pytest.raises(BadInputError, match="is a device or pipe, not a file"):
            load_spec(path, CriticFit)


def test_missing_and_misspelt_files(tmp_path: Path) -> None:
    assert "did you mean mnist_gp?" in faults("mnist_pg")[0]
    assert "no such file" in faults(str(tmp_path / "nothing.yaml"))[0]
    (tmp_path / "showers.yaml").touch()
    assert f"did you mean {tmp_path / 'showers.yaml'}?" in faults(str(tmp_path / "showers.yml"))[0]
    assert "`wgan configs` lists" in faults(str(tmp_path / "no" / "showers.yml"))[0]
    assert "is a folder" in faults(str(tmp_path))[0]


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    assert "can't be read as a text file" in faults(str(path))[0]


def test_overrides_go_through_the_same_checks(good: str) -> None:
    assert load_config(good, ["training.iterations=7", "seed=1"]).training.iterations == 7
    assert load_config(good, ["lipschitz={kind: clip, bound: 1e-2}"]).lipschitz.kind == "clip"
    assert load_config(good, ["output.keep=5"]).output.keep == 5  # a key that the file doesn't have
    assert faults(good, "training.itertions=7")[0].startswith("--set training.itertions=7: training.itertions: unknown")
    assert "must be a valid integer" in faults(good, "seed=1e-4")[0]


@pytest.mark.parametrize("name", shipped.names())
def test_a_config_that_is_written_is_read_back(
    name: str, write: Write, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(examples)
    config = load_config(name)
    assert load_config(write(config.to_yaml())) == config
    assert config_from_dict(json.loads(json.dumps(config.to_dict())), "a checkpoint") == config


def test_faults_in_a_checkpoint_name_it(good: str) -> None:
    tree = load_config(good).to_dict()
    with pytest.raises(BadInputError, match=r"x\.pt:1: training\.iterations: must be greater"):
        config_from_dict({**tree, "training": {**tree["training"], "iterations": 0}}, "x.pt")


def test_other_specs_are_read_with_the_same_checks(tmp_path: Path) -> None:
    path = tmp_path / "latent.yaml"
    path.write_text("dim: 3\n")
    assert load_spec(path, Latent) == Latent(dim=3)
    path.write_text("dim: 3\nkindd: uniform\n")
    with pytest.raises(BadInputError, match=r"latent\.yaml:2: kindd: unknown key; did you mean kind\?"):
        load_spec(path, Latent)
    with pytest.raises(BadInputError, match=r"nothing\.yaml: can't be read"):
        load_spec(tmp_path / "nothing.yaml", Latent)


@given(st.text(max_size=200))
def test_no_text_ends_in_a_traceback(text: str) -> None:
    try:
        load_config("normal_gp", [f"latent={text}"])
    except BadInputError as error:
        assert "--set latent=" in str(error)  # noqa: PT017


def test_a_path_beside_the_config_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "x.csv").write_text("1,2\n" * 9)
    text = shipped.read("table_gp").splitlines()
    lines = ["data: {kind: arrays, path: x.csv}" if line.startswith("data:") else line for line in text]
    (tmp_path / "own" / "x.yaml").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    (fault,) = faults("own/x.yaml")
    told = "x.csv: no such file; paths are seen from the folder in which wgan is called: own/x.csv"
    assert fault.endswith(told)
    monkeypatch.chdir("own")
    assert load_config("x.yaml").data.kind == "arrays"
