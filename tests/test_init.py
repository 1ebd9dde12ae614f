"""`wgan init`: what it writes loads, trains, and is never written over a file of the user's."""

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
import yaml

from tests.conftest import Wgan
from tests.data.pictures import COLOURS, write_folder
from wgan_cli.config import shipped
from wgan_cli.config.load import load_config

QUICK = ("--set=training.iterations=2", "--device=cpu")


def _csv(folder: Path) -> Path:
    values = np.random.default_rng(0).normal(size=(50, 3))
    np.savetxt(folder / "a table.csv", values, delimiter=",", header="a,b,c", comments="")
    return folder / "a table.csv"


def _npy(*shape: int, dtype: type = np.uint8) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        np.save(folder / "x.npy", np.random.default_rng(0).integers(0, 255, shape).astype(dtype))
        return folder / "x.npy"

    return write


# Name: what writes it, fields of the config's data, generator.kind and generator's channels or hidden widths
SOURCES = {
    "a table": (_csv, {"kind": "arrays", "scale": "standardise"}, "mlp", (128, 128, 128)),
    "a wide table": (_npy(40, 100, dtype=np.float32), {"kind": "arrays"}, "mlp", (256, 256, 256)),
    "numbers": (_npy(40, dtype=np.float64), {"kind": "arrays"}, "mlp", (128, 128, 128)),
    "images": (_npy(40, 1, 28, 28), {"scale": "minmax", "channels": "first"}, "conv", (64, 32)),
    "colours last": (_npy(40, 32, 32, 3), {"scale": "minmax", "channels": "last"}, "conv", (128, 64, 32)),
    "odd sizes": (_npy(40, 1, 9, 9), {"scale": "minmax"}, "mlp", (256, 256, 256)),
    "series": (_npy(40, 2, 64, dtype=np.float32), {"scale": "standardise"}, "conv", (256, 128, 64, 32)),
    "volumes": (_npy(9, 1, 8, 8, 8, dtype=np.float32), {"scale": "standardise"}, "conv", (16,)),
    "few": (_npy(4, 2, dtype=np.float32), {"kind": "arrays"}, "mlp", (128, 128, 128)),
    "pictures": (lambda folder: write_folder(folder / "pictures", 12, COLOURS), {"kind": "images"}, "conv", (32,)),
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_config_for_data_trains_with_networks_that_fit(source: str, wgan: Wgan) -> None:
    make, data, kind, widths = SOURCES[source]
    path = make(Path.cwd())
    written = wgan("init", "--data", path.name)
    assert (written.code, written.out) == (0, "config.yaml\n"), written.err
    assert written.err.endswith("wgan: next: wgan train config.yaml\n")
    config = load_config("config.yaml")
    assert {name: getattr(config.data, name) for name in data} == data
    assert config.generator.kind == config.critic.kind == kind
    assert (config.generator.hidden if kind == "mlp" else config.generator.channels) == widths
    trained = wgan("train", "config.yaml", *QUICK)
    assert trained.code == 0, trained.err
    assert json.loads((Path(trained.out.strip()) / "status.json").read_text())["state"] == "finished"


def test_without_data_it_is_the_smallest_recipe(wgan: Wgan) -> None:
    assert wgan("init").code == 0
    assert load_config("config.yaml") == load_config("normal_gp")
    assert wgan("train", "config.yaml", *QUICK).code == 0


@pytest.mark.parametrize("name", shipped.names())
def test_a_shipped_recipe_is_the_same_with_comments(name: str, wgan: Wgan) -> None:
    written = wgan("init", name, "--out", "-").out
    assert yaml.safe_load(written) == yaml.safe_load(shipped.read(name))
    lines = written.splitlines()
    assert lines[0] == f"# {shipped.title(name)}"
    keys = [i for i, line in enumerate(lines) if line and line[0] not in "# "]
    assert len(keys) >= 9
    assert all(lines[i - 1].startswith("# ") and len(lines[i - 1]) <= 120 for i in keys)


def test_comments_name_the_kinds(wgan: Wgan) -> None:
    written = wgan("init", "--out", "-").out
    assert "Kinds: mlp, conv, resnet.\ngenerator:" in written
    assert "Kinds: none, clip, gp, orthogonal, r1, spectral.\nlipschitz:" in written


def test_editors_find_the_schema_wherever_the_file_lies(wgan: Wgan) -> None:
    Path("deep").mkdir()
    assert wgan("init", "--out", "deep/mine.yaml").out == "deep/mine.yaml\n"
    (line,) = (line for line in Path("deep/mine.yaml").read_text().splitlines() if "$schema=" in line)
    assert line.startswith("# yaml-language-server: $schema=file://")
    schema = json.loads(Path(unquote(urlparse(line.partition("=")[2]).path)).read_text())
    assert schema["title"] == "RunConfig"


def test_classes_and_layouts_that_may_surprise_are_told(wgan: Wgan) -> None:
    write_folder(Path("pictures"), 12, COLOURS)
    assert "\n# condition: {kind: labels}  # learns classes" in wgan("init", "--data", "pictures", "--out", "-").out
    np.save("grey.npy", np.zeros((9, 28, 28)))
    assert "read as a series, 28 channels of 28 steps" in wgan("init", "--data", "grey.npy", "--out", "-").out


def test_pictures_have_more_latents_than_the_recipe_for_digits(wgan: Wgan) -> None:
    write_folder(Path("pictures"), 12, COLOURS)
    assert "\nlatent: {dim: 64}\n" in wgan("init", "--data=pictures", "--out=-").out


def test_a_file_is_replaced_only_by_force(wgan: Wgan) -> None:
    Path("config.yaml").write_text("mine")
    Path("folder").mkdir()
    Path("link.yaml").symlink_to("nowhere.yaml")
    for options, message in (
        ((), "--out config.yaml: exists; name another file, or replace it by --force"),
        (("--out", "folder", "--force"), "--out folder: is a folder"),
        (("--out", "no/x.yaml"), "there is no folder no"),
        (("mnist_gp", "--data", "x.csv", "--out=y"), "leave mnist_gp out"),
        (("--key", "a", "--out=y"), "--key: names an array of --data"),
        (("mnist_pg", "--out=y"), "did you mean mnist_gp?"),
        (("--data", "nothing.csv", "--out=y"), "nothing.csv: no such file"),
    ):
        refused = wgan("init", *options)
        assert (refused.code, refused.out) == (2, ""), refused.err
        assert message in refused.err
        assert refused.err.count("\n") == 1
    assert wgan("init", "--out", "link.yaml").code == 1  # a link to nowhere is the user's too
    assert sorted(path.name for path in Path().iterdir()) == ["config.yaml", "folder", "link.yaml"]
    assert Path("config.yaml").read_text() == "mine"
    assert wgan("init", "--force").code == 0
    assert load_config("config.yaml").data.kind == "normal"


def test_names_with_odd_characters_stay_out_of_the_comments(wgan: Wgan) -> None:
    np.save("a\nseed: 5 #.npy", np.zeros((9, 2)))
    assert wgan("init", "--data", "a\nseed: 5 #.npy").code == 0
    assert load_config("config.yaml").seed == 0
