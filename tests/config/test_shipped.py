import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.helpers import made_up_checksums
from wgan_cli.config import shipped
from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.data.arrays import Arrays
from wgan_cli.data.cifar10 import Cifar10
from wgan_cli.data.finite import FiniteDataset, Store
from wgan_cli.data.mnist import MnistFiles
from wgan_cli.data.stacked_mnist import StackedMnist
from wgan_cli.errors import BadInputError
from wgan_cli.training.trainer import Trainer


def test_a_file_goes_before_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped.find_config("mnist_gp.yaml") == shipped.find_config("mnist_gp") == shipped.FOLDER / "mnist_gp.yaml"
    Path("mnist_gp").mkdir()  # a run's folder, say
    assert shipped.find_config("mnist_gp") == shipped.FOLDER / "mnist_gp.yaml"
    Path("mnist_gp.yaml").write_text("mine")
    assert shipped.find_config("mnist_gp.yaml") == Path("mnist_gp.yaml")


def test_a_run_has_the_name_of_its_config_but_not_of_a_pipe() -> None:
    assert [shipped.run_name(name) for name in ("mnist_gp", "a/mine.yaml", "/dev/fd/63")] == ["mnist_gp", "mine", "run"]


def test_a_misspelt_name_is_corrected() -> None:
    assert shipped.read("mnist_gp.yaml") == shipped.read("mnist_gp")
    with pytest.raises(BadInputError, match=r"mnist_pg: no shipped config; did you mean mnist_gp\?"):
        shipped.read("mnist_pg")


@pytest.mark.parametrize("name", shipped.names())
def test_each_has_a_title(name: str) -> None:
    title = shipped.title(name)
    assert len(title) > 20
    assert not title.startswith("yaml-language-server")


def test_the_shipped_schema_is_that_of_a_config() -> None:
    assert json.loads((shipped.FOLDER / "schema.json").read_text()) == RunConfig.model_json_schema()


def test_every_key_of_the_schema_is_described() -> None:
    schema = RunConfig.model_json_schema()
    definitions = schema["$defs"]

    def is_described(key: dict[str, Any]) -> bool:
        refers = key.get("$ref", "").rpartition("/")[2]
        return "description" in key or "description" in definitions.get(refers, {})

    keys = {
        f"{name}.{key}": value
        for name, model in {"": schema, **definitions}.items()
        for key, value in model.get("properties", {}).items()
    }
    assert [name for name, value in keys.items() if not is_described(value)] == []


@pytest.mark.parametrize("name", shipped.names())
def test_the_schema_accepts_each_config_and_each_names_it(name: str) -> None:
    import jsonschema

    text = shipped.read(name)
    assert "# yaml-language-server: $schema=schema.json" in text
    validator = jsonschema.Draft202012Validator(RunConfig.model_json_schema())
    validator.validate(yaml.safe_load(text))
    assert list(validator.iter_errors({**yaml.safe_load(text), "sede": 1}))


@pytest.mark.parametrize("name", shipped.names())
def test_each_trains_two_iterations(
    name: str, made_up_mnist: Path, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(examples)
    config = load_config(name)
    if isinstance(config.data, Arrays):
        config = load_config(name, ["training.batch_size=8"])
    if isinstance(config.data, MnistFiles):
        monkeypatch.setattr(type(config.data), "checksums", made_up_checksums(made_up_mnist))
        (made_up_mnist / "MNIST").rename(made_up_mnist / config.data.title)
        config = load_config(name, [f"data.root={made_up_mnist}", "training.batch_size=8"])
    if isinstance(config.data, StackedMnist):
        config = load_config(name, [f"data.root={made_up_mnist}", "data.triples=64", "training.batch_size=8"])
    if isinstance(config.data, Cifar10):
        images = Store.of(torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8))
        monkeypatch.setattr(Cifar10, "load", lambda *_: FiniteDataset(images, "data.split", images))
        config = load_config(name, ["training.batch_size=2", "training.n_critic=1"])
    trainer = Trainer(config, torch.device("cpu"))
    before = [parameter.detach().clone() for parameter in trainer.networks.generator.parameters()]
    figures = [trainer.iterate()[0] for _ in range(2)]
    assert trainer.step == 2
    assert all(value.isfinite() for each in figures for value in each.values())
    after = list(trainer.networks.generator.parameters())
    assert any(not torch.equal(p, b) for p, b in zip(after, before, strict=True))
