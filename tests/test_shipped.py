from pathlib import Path

import pytest
import torch

from wgan_cli import shipped
from wgan_cli.config import load_config
from wgan_cli.trainer import Trainer


def test_a_file_goes_before_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped.find_config("mnist_gp.yaml") == shipped.find_config("mnist_gp") == shipped.FOLDER / "mnist_gp.yaml"
    Path("mnist_gp").mkdir()  # a run's folder, say
    assert shipped.find_config("mnist_gp") == shipped.FOLDER / "mnist_gp.yaml"
    Path("mnist_gp.yaml").write_text("mine")
    assert shipped.find_config("mnist_gp.yaml") == Path("mnist_gp.yaml")


@pytest.mark.parametrize("name", shipped.names())
def test_each_has_a_title(name: str) -> None:
    title = shipped.title(name)
    assert len(title) > 20
    assert not title.startswith("yaml-language-server")


@pytest.mark.parametrize("name", shipped.names())
def test_each_trains_two_iterations(name: str, made_up_mnist: Path) -> None:
    config = load_config(name)
    if config.data.kind == "mnist":
        config = load_config(name, [f"data.root={made_up_mnist}", "data.checksums=false", "training.batch_size=8"])
    trainer = Trainer(config, torch.device("cpu"))
    before = [parameter.detach().clone() for parameter in trainer.generator.parameters()]
    figures = [trainer.iterate()[0] for _ in range(2)]
    assert trainer.step == 2
    assert all(value.isfinite() for each in figures for value in each.values())
    assert any(not torch.equal(p, b) for p, b in zip(trainer.generator.parameters(), before, strict=True))
