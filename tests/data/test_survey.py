import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import Wgan
from tests.data.pictures import COLOURS, encoded, noise, write_folder, zipped
from wgan_cli.data.arrays import Arrays
from wgan_cli.data.survey import arrays as survey_module
from wgan_cli.data.survey import survey
from wgan_cli.errors import BadInputError


def table(count: int = 30) -> Any:
    rng = np.random.default_rng(0)
    return np.stack([rng.normal(50, 9, count), rng.integers(0, 5, count)], 1)


def _csv(folder: Path) -> Path:
    np.savetxt(folder / "x.csv", table(), delimiter=";", header="energy;hits", comments="")
    return folder / "x.csv"


def _npy(values: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        np.save(folder / "x.npy", values)
        return folder / "x.npy"

    return write


def _pt(folder: Path) -> Path:
    torch.save(torch.randn(20, 1, 4, 4), folder / "x.pt")
    return folder / "x.pt"


SOURCES: dict[str, Callable[[Path], Path]] = {
    "a table": _csv,
    "numbers": _npy(np.arange(20)),
    "series": _npy(np.random.default_rng(0).normal(size=(20, 2, 8)).astype(np.float32)),
    "fields": _pt,
    "volumes": _npy(np.random.default_rng(0).integers(0, 2, (20, 1, 3, 4, 5)).astype(bool)),
    "pictures": lambda folder: write_folder(folder / "pictures"),
    "classes": lambda folder: write_folder(folder / "pictures", 12, COLOURS),
    "a zip": lambda folder: zipped(write_folder(folder / "pictures"), folder / "a name with spaces.zip"),
}

TINY = (
    *("--set=generator.hidden=[4]", "--set=critic.hidden=[4]", "--set=latent.dim=2", "--set=training.iterations=1"),
    *("--set=training.batch_size=4", "--set=training.n_critic=1", "--device=cpu"),
)


@pytest.mark.parametrize("source", SOURCES)
def test_the_printed_line_trains(source: str, wgan: Wgan) -> None:
    path = SOURCES[source](Path.cwd())
    found = wgan("data", path.name)
    assert found.code == 0, found.err
    (line,) = (line for line in found.out.splitlines() if line.startswith("data: "))
    written = wgan("configs", "mnist_mlp_gp").out.replace("data: {kind: mnist}", line)
    assert line in written
    Path("mine.yaml").write_text(written)
    trained = wgan("train", "--config", "mine.yaml", *TINY)
    assert trained.code == 0, trained.err
    assert json.loads((Path(trained.out.strip()) / "status.json").read_text())["state"] == "finished"


def test_a_table_is_told_column_by_column(tmp_path: Path) -> None:
    values = table()
    facts = survey(_csv(tmp_path)).facts
    assert (facts["kind"], facts["samples"], facts["shape"], facts["type"]) == ("arrays", 30, [2], "float64")
    assert facts["missing"] == 0
    assert facts["range"] == pytest.approx([values.min(), values.max()])
    assert list(facts["columns"]) == ["energy", "hits"]
    for column, cells in zip(values.T, facts["columns"].values(), strict=True):
        assert cells["mean"] == pytest.approx(column.mean())
        assert cells["std"] == pytest.approx(column.std())
        assert (cells["least"], cells["greatest"]) == pytest.approx((column.min(), column.max()))
    assert [cells["whole"] for cells in facts["columns"].values()] == [False, True]


def test_missing_values_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = table()
    values[3, 0] = values[4, 0] = np.nan
    values[29, 1] = np.inf
    monkeypatch.setattr(survey_module, "CHUNK", 8)  # four rows at a time
    facts = survey(_npy(values)(tmp_path)).facts
    assert facts["missing"] == 3
    assert [cells["missing"] for cells in facts["columns"].values()] == [2, 1]
    assert facts["range"] == pytest.approx([np.nanmin(values[:, 0:]), np.nanmax(values[:, 0])])
    assert facts["columns"]["x1"]["mean"] == pytest.approx(np.nanmean(values[:, 0]))


def test_nothing_but_missing_values_is_told(tmp_path: Path) -> None:
    facts = survey(_npy(np.full((9, 2), np.nan))(tmp_path)).facts
    assert facts["missing"] == 18
    assert "range" not in facts
    assert facts["columns"] == {"x1": {"missing": 9}, "x2": {"missing": 9}}


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float32])
def test_shape_and_type_are_the_files(tmp_path: Path, dtype: Any) -> None:
    facts = survey(_npy(np.ones((6, 3, 5), dtype))(tmp_path)).facts
    assert (facts["samples"], facts["shape"], facts["type"]) == (6, [3, 5], np.dtype(dtype).name)
    assert facts["range"] == [1, 1]
    assert "columns" not in facts


def test_wide_tables_are_told_in_short(tmp_path: Path) -> None:
    facts = survey(_npy(np.zeros((5, 21)))(tmp_path)).facts
    assert "columns" not in facts
    assert len(survey(_npy(np.zeros((5, 20)))(tmp_path)).facts["columns"]) == 20


def test_a_key_goes_into_the_line(tmp_path: Path, wgan: Wgan) -> None:
    np.savez("x.npz", a=np.zeros((9, 1)), b=np.zeros((9, 2)))
    assert "data: {kind: arrays, path: x.npz, key: b}" in wgan("data", "x.npz", "--key=b").out
    write_folder(Path("pictures"))
    np.save("x.npy", np.zeros((9, 2)))
    for path in ("x.npy", "pictures"):
        refused = wgan("data", path, "--key=b")
        assert refused.code == 2
        assert f"{path}: --key is for .npz files alone; leave it out" in refused.err
    refused = wgan("data", "x.npz")
    assert refused.code == 2
    assert "name one by data.key or --key" in refused.err


def test_pictures_are_told_by_size_mode_and_class(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "x", 6, ("red", "blue"))
    noise(0, 70, 60).convert("L").save(folder / "red" / "grey.png")
    (folder / "blue" / "junk.png").write_bytes(b"junk")
    for path in (folder, zipped(folder, tmp_path / "x.zip")):
        found = survey(path)
        assert found.facts["kind"] == "images"
        assert found.facts["samples"] == 7
        assert found.facts["sizes"] == {"8 x 8": 6, "70 x 60": 1}
        assert found.facts["modes"] == {"RGB": 6, "L": 1}
        assert found.facts["unreadable"] == ["blue/junk.png"]
        assert found.facts["classes"] == {"blue": 3, "red": 4}


@pytest.mark.parametrize(
    ("mode", "side", "line"),
    [
        ("L", 28, "size: 28, channels: 1}"),
        ("1", 30, "size: 28, channels: 1}"),
        ("RGB", 40, "size: 32}"),
        ("RGBA", 64, "size: 64, channels: 4}"),
        ("CMYK", 500, "size: 128}"),
    ],
)
def test_the_line_has_a_size_and_channels_that_suit(tmp_path: Path, mode: str, side: int, line: str) -> None:
    (tmp_path / "x").mkdir()
    form = "JPEG" if mode == "CMYK" else "PNG"
    for i in range(3):
        (tmp_path / "x" / f"{i}.png").write_bytes(encoded(Image.new(mode, (side, side + 20 * i)), form))
    found = survey(tmp_path / "x")
    assert found.yaml_lines().endswith(line)
    assert any(warning.startswith("x: pictures are brought to ") for warning in found.warnings("x"))


@pytest.mark.parametrize(
    ("width", "height", "line"),
    [(24, 24, "size: 24}"), (48, 32, "size: [32, 48]}"), (30, 30, "size: 28}"), (256, 256, "size: 128}")],
)
def test_pictures_of_one_size_keep_it_if_networks_fit(tmp_path: Path, width: int, height: int, line: str) -> None:
    (tmp_path / "x").mkdir()
    for i in range(30):
        noise(i, width, height).save(tmp_path / "x" / f"{i}.png")
    found = survey(tmp_path / "x")
    assert found.yaml_lines().endswith(line)
    assert len(list(found.warnings("x"))) == (width in (30, 256))


def test_the_size_of_turned_pictures_is_that_of_upright_ones(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for i in range(3):
        turned = noise(i, 64, 32)
        tags = turned.getexif()
        tags[0x0112] = 6  # on its side: upright it is 32 wide and 64 high
        turned.save(tmp_path / "x" / f"{i}.jpg", exif=tags)
    found = survey(tmp_path / "x")
    assert found.facts["sizes"] == {"32 x 64": 3}
    assert found.yaml_lines().endswith("size: [64, 32]}")


def test_no_column_of_pictures_can_be_left_out(wgan: Wgan, tmp_path: Path) -> None:
    write_folder(tmp_path / "x", 3, ("red",))
    assert "x: --drop is for tables; leave it out for pictures" in wgan("data", tmp_path / "x", "--drop", "a").err


def test_json_is_one_object(wgan: Wgan) -> None:
    for source in ("a table", "classes"):
        path = SOURCES[source](Path.cwd())
        found = json.loads(wgan("data", path.name, "--json").out)
        assert found["config"].startswith(f"data: {{kind: {found['kind']}, path: {path.name}")
        assert found["samples"] in (30, 12)


@pytest.mark.parametrize("source", ["a table", "series", "fields", "volumes", "classes"])
def test_a_picture_of_some_samples_can_be_drawn(source: str, wgan: Wgan) -> None:
    path = SOURCES[source](Path.cwd())
    found = wgan("data", path.name, "--plot=x.png")
    assert found.code == 0, found.err
    pixels = np.asarray(Image.open("x.png").convert("L"))
    assert min(pixels.shape) > 20
    assert pixels.std() > 1


def _folder_of(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
        return folder

    return make


def _picture(folder: Path) -> Path:
    Image.new("L", (8, 8)).save(folder / "x.png")
    return folder / "x.png"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "nothing", "nothing: no such file or folder"),
        (lambda folder: folder / "nothing.npy", "nothing.npy: no such file or folder"),
        (lambda folder: folder, "holds no pictures"),
        (_folder_of("MNIST/raw/train-images-idx3-ubyte.gz"), "ubyte.gz are for data: {kind: mnist, root: FOLDER}"),
        (_picture, "x.png: is one picture; name the folder or .zip of all, such as "),
        (_npy(np.zeros((0, 3))), "x.npy: holds no samples"),
        (_npy(np.array(["a", "b"])), "x.npy: holds <U1 values; only booleans, whole and real numbers"),
    ],
)
def test_what_can_not_be_read_is_named_and_nothing_written(
    make: Callable[[Path], Path], message: str, wgan: Wgan
) -> None:
    path = make(Path.cwd())
    before = sorted(Path.cwd().rglob("*"))
    found = wgan("data", path, "--plot=y.png")
    assert found.code == 2
    assert message in found.err
    assert found.out == ""
    assert sorted(Path.cwd().rglob("*")) == before


def test_samples_of_more_dimensions_than_a_run_takes_are_refused(wgan: Wgan) -> None:
    np.save("five.npy", np.zeros((9, 1, 1, 1, 1, 1)))
    for command in (("data", "five.npy"), ("init", "--data", "five.npy")):
        refused = wgan(*command)
        assert (refused.code, refused.out) == (2, "")
        assert refused.err == "wgan: five.npy: its samples have 5 dimensions; 1 to 4 are possible\n"
    for sample in ((1, 1, 1, 1, 1), ()):
        with pytest.raises(BadInputError, match=f"its samples have {len(sample)} dimensions"):
            Arrays(path="five.npy", sample=sample).resolved()


def test_a_folder_of_unreadable_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"junk")
    with pytest.raises(BadInputError, match=r"none of its 1 pictures can be read; first: 1\.png \(cannot identify"):
        survey(tmp_path)
    Image.new("F", (8, 8)).save(tmp_path / "1.png", "TIFF")
    with pytest.raises(BadInputError, match=r"first: 1\.png \(its numbers, of Pillow's mode F, have no fixed black"):
        survey(tmp_path)


def test_what_is_printed_of_a_table_says_what_matters(wgan: Wgan) -> None:
    values = table()
    np.savetxt("x.csv", values, delimiter=",", header="energy,hits", comments="")
    found = wgan("data", "x.csv")
    assert "range" not in found.out  # of all columns together
    assert "missing" not in found.out
    energy, hits = (line for line in found.out.splitlines() if line.startswith("  "))
    assert energy.startswith("  energy: mean ")
    assert not energy.endswith("whole numbers")
    assert hits.endswith("greatest 4, whole numbers")
    values[3, 0] = np.nan
    np.save("x.npy", values)
    found = wgan("data", "x.npy")
    assert "\nmissing  1\n" in found.out
    assert ", 1 missing\n" in found.out
    assert "wgan: x.npy: values are missing (1), which no run takes" in found.err


def test_pictures_that_a_run_would_refuse_are_told(wgan: Wgan) -> None:
    folder = write_folder(Path("x"), 6)
    (folder / "junk.png").write_bytes(b"junk")
    found = wgan("data", "x")
    assert (found.code, found.err) == (
        0,
        "wgan: x: junk.png can't be read; a run leaves out 1% of all pictures at most\n",
    )


def test_data_and_init_warn_of_the_same(wgan: Wgan) -> None:
    np.save("grey.npy", np.zeros((9, 16, 16), np.uint8))
    np.save("square.npy", np.zeros((9, 16, 16)))
    np.save("wide.npy", np.zeros((9, 64)))
    series, image = "channels: first reads it as a series", "channels: none reads it as a grey image"
    for name, told in (
        ("grey.npy", f"a sample is read as a grey image of 16 x 16; {series}"),
        ("square.npy", f"a sample is read as a series, 16 channels of 16 steps; {image}"),
        ("wide.npy", "a sample is read as 64 columns of a table; channels: none reads it as a series"),
    ):
        assert wgan("data", name).err == f"wgan: {name}: {told}\n"
        assert f"wgan: {name}: {told}\n" in wgan("init", "--data", name, "--force").err
        assert f"\n# {told}\n" in Path("config.yaml").read_text()
    np.save("series.npy", np.zeros((9, 2, 64)))
    assert wgan("data", "series.npy").err == ""


@pytest.mark.parametrize(
    ("shape", "channels", "line", "network"),
    [
        ((40, 64), "none", "channels: none", "kernel: 8, final"),  # that of a series
        ((40, 16, 16), "none", "channels: none", "final: transposed"),
        ((40, 16, 16), "first", "path: x.npy}", "channels: [64, 32]"),
        ((40, 16, 3), "last", "channels: last", "channels: [64, 32]"),
        ((40, 16, 16, 3), "last", "channels: last", "final: transposed"),
    ],
)
def test_channels_are_where_they_are_said_to_be(
    wgan: Wgan, shape: tuple[int, ...], channels: str, line: str, network: str
) -> None:
    np.save("x.npy", np.random.default_rng(0).normal(size=shape))
    for command in (("data", "x.npy"), ("init", "--out=-", "--data", "x.npy")):
        done = wgan(*command, "--channels", channels)
        assert (done.code, done.err) == (0, "")
        assert line in done.out
    assert network in done.out
    Path("x.yaml").write_text(done.out)
    assert wgan("train", "x.yaml", "--dry-run").code == 0


def test_channels_that_say_nothing_are_refused(wgan: Wgan) -> None:
    np.save("x.npy", np.zeros((9, 64)))
    Path("x").mkdir()
    Image.new("L", (8, 8)).save("x/x.png")
    for command, message in (
        (("data", "x.npy", "--channels=last"), "x.npy: --channels last: has no meaning for samples that are plain"),
        (("data", "x", "--channels=none"), "x: --channels is for arrays; leave it out for pictures"),
        (("init", "--channels=none"), "--channels: says how arrays of --data are read, which is missing"),
        (("init", "--data=x.npy", "--channels=x"), "'x' is not one of 'first', 'last', 'none'"),
    ):
        done = wgan(*command)
        assert done.code == 2
        assert message in done.err


@pytest.mark.parametrize(
    ("shape", "dtype", "line"),
    [
        ((9, 16, 16), np.uint8, "channels: none, scale: minmax"),
        ((9, 16, 16, 3), np.uint8, "channels: last, scale: minmax"),
        ((9, 1, 16, 16), np.uint8, "scale: minmax"),
        ((9, 16, 12, 3), np.float32, "channels: last"),
    ],
)
def test_data_and_init_write_the_same_line(wgan: Wgan, shape: tuple[int, ...], dtype: type, line: str) -> None:
    np.save("x.npy", np.random.default_rng(0).integers(0, 99, shape).astype(dtype))
    written = f"data: {{kind: arrays, path: x.npy, {line}}}\n"
    assert wgan("data", "x.npy").out.endswith(written)
    assert written in wgan("init", "--data", "x.npy", "--out", "-").out


def test_too_few_samples_are_told_before_a_run_refuses_them(wgan: Wgan) -> None:
    np.save("x.npy", np.zeros((3, 2)))
    found = wgan("data", "x.npy")
    assert found.code == 0
    assert found.err == "wgan: x.npy: holds 3 samples; 2 to train on and 2 held-out ones need 4\n"
    assert found.err in wgan("init", "--data", "x.npy").err
