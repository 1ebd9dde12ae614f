import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wgan_cli.config.load import load_config
from wgan_cli.data.arrays import Arrays
from wgan_cli.data.sample_files import open_samples
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.runs.loaded import LoadedRun
from wgan_cli.sampling import Drawn, check_out, write

IMAGES = torch.linspace(-1, 1, 4).reshape(4, 1, 1, 1).expand(4, 1, 28, 28)
NAMES = ["seed000003", "seed000004", "seed000009", "seed000010"]


def untrained(name: str) -> LoadedRun:
    """A run of a shipped config, before its first iteration."""
    config = load_config(name)
    networks = config.networks()
    return LoadedRun(networks.sampler, networks.critic, config, 0, torch.device("cpu"), {})


def test_plain_values_as_an_array(tmp_path: Path) -> None:
    samples = torch.randn(7, 1)
    write(Drawn(samples, [str(i) for i in range(7)]), tmp_path / "s.npz", untrained("normal_gp"))
    with np.load(tmp_path / "s.npz") as file:
        assert file["samples"].dtype == np.float32
        assert file["samples"].tolist() == samples.tolist()
        assert file["names"].tolist() == [str(i) for i in range(7)]


def test_each_column_of_a_table_keeps_its_type(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    types = ("int32", "bool", "float32", "uint8", "float64")
    columns = [pyarrow.array(np.arange(8).astype(name)) for name in types]
    parquet.write_table(pyarrow.table(columns, names=list(types)), tmp_path / "x.parquet")
    spec = Arrays(path=str(tmp_path / "x.parquet")).resolved()
    state = spec.load(torch.device("cpu")).state_dict()
    loaded = replace(
        untrained("normal_gp"),
        config=load_config("normal_gp").model_copy(update={"data": spec}),
        data_state=state,
    )
    samples = 3 * torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    write(Drawn(samples, [""] * 50), tmp_path / "new.parquet", loaded)
    table = parquet.read_table(tmp_path / "new.parquet")
    assert {name: table[name].to_numpy().dtype.name for name in table.column_names} == {name: name for name in types}
    assert table["uint8"].to_numpy().max() < 128  # below 0 it ends at 0, not at 255
    assert set(table["bool"].to_pylist()) == {False, True}
    write(Drawn(samples, [""] * 50), tmp_path / "new.csv", loaded)
    assert open_samples(tmp_path / "new.csv").values[:, 2].astype(np.float32).tolist() == table["float32"].to_pylist()
    older = replace(loaded, data_state={name: value for name, value in state.items() if name != "types"})
    write(Drawn(samples, [""] * 50), tmp_path / "old.parquet", older)
    assert set(map(str, parquet.read_table(tmp_path / "old.parquet").schema.types)) == {"double"}


@pytest.mark.parametrize("files", [("x.csv",), ("x.csv", "x.parquet"), ("x.parquet", "x.csv")])
def test_whole_columns_of_a_csv_are_whole_where_they_can_be(tmp_path: Path, files: tuple[str, ...]) -> None:
    """Above 2^53 every float64 is whole; int64 ends at 2^63."""
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    (tmp_path / "x.csv").write_text("few,huge,part\n" + "".join(f"{i},{i + 1}e19,{i}.5\n" for i in range(8)))
    table = pyarrow.table([np.arange(8.0), 1e19 * np.arange(1.0, 9.0), np.arange(8.0)], names=["few", "huge", "part"])
    parquet.write_table(table, tmp_path / "x.parquet")
    spec = Arrays(path=tuple(str(tmp_path / name) for name in files)).resolved()
    state = spec.load(torch.device("cpu")).state_dict()
    config = load_config("normal_gp").model_copy(update={"data": spec})
    loaded = replace(untrained("normal_gp"), config=config, data_state=state)
    samples = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    write(Drawn(samples, [""] * 50), tmp_path / "new.parquet", loaded)
    found = parquet.read_table(tmp_path / "new.parquet")
    assert list(map(str, found.schema.types)) == ["int64", "double", "double"]
    write(Drawn(samples, [""] * 50), tmp_path / "new.csv", loaded)
    values = open_samples(tmp_path / "new.csv").values
    assert np.array_equal(values[:, 1], found["huge"].to_numpy())
    assert np.unique(values[:, 1]).size == 50


def test_plain_values_as_a_picture(tmp_path: Path) -> None:
    write(Drawn(torch.randn(7, 1), [""] * 7), tmp_path / "s.png", untrained("normal_gp"))
    assert Image.open(tmp_path / "s.png").size == (600, 400)


def test_images_as_array_grid_and_folder(tmp_path: Path) -> None:
    loaded = untrained("mnist_gp")
    for out in ("s.npz", "s.png", "folder"):
        write(Drawn(IMAGES, NAMES), tmp_path / out, loaded)
    with np.load(tmp_path / "s.npz") as file:
        assert file["samples"].shape == (4, 28, 28, 1)
        assert file["samples"].dtype == np.uint8
        assert file["samples"][:, 0, 0, 0].tolist() == [0, 85, 170, 255]
    assert Image.open(tmp_path / "s.png").size == (62, 62)
    assert sorted(path.stem for path in (tmp_path / "folder").iterdir()) == NAMES
    assert Image.open(tmp_path / "folder" / "seed000009.png").getpixel((0, 0)) == 170


def test_a_folder_keeps_its_other_files(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    write(Drawn(IMAGES, NAMES), tmp_path / "folder", untrained("mnist_gp"))
    assert len(os.listdir(tmp_path / "folder")) == 5
    assert (tmp_path / "folder" / "mine").read_text() == "mine"


@pytest.mark.parametrize(
    ("out", "message"), [("s.jpg", "must end in"), ("folder", "needs images"), ("no/s.npz", "no folder")]
)
def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path, out: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        check_out(tmp_path / out, untrained("normal_gp"))


def test_pictures_are_not_strewn_among_runs(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").touch()
    for folder in (run, run.parent):
        with pytest.raises(BadInputError, match="holds runs, among which PNGs would be lost"):
            check_out(folder, untrained("mnist_gp"))
    check_out(run.parent / "pictures", untrained("mnist_gp"))
    check_out(tmp_path / "runs.png", untrained("mnist_gp"))


@pytest.mark.parametrize("out", ["s.npz", "s.png", "folder"])
def test_a_failed_write_is_one_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WganError, match=rf"--out .*{out}: can't be written \(No space left"):
        write(Drawn(IMAGES, NAMES), tmp_path / out, untrained("mnist_gp"))
    assert os.listdir(tmp_path) == []


def test_a_folder_that_can_t_hold_all_samples_says_how_many_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flushed, flush = list[int](), os.fsync

    def full_in_the_end(descriptor: int) -> None:
        flushed.append(descriptor)
        if len(flushed) == 7:  # of the fourth picture: each is flushed, and then its folder
            raise OSError(28, "No space left on device")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", full_in_the_end)
    with pytest.raises(WganError, match="can't be written"):
        write(Drawn(IMAGES, NAMES), tmp_path / "s", untrained("mnist_gp"))
    assert f"{tmp_path / 's'}: holds 3 of 4 samples" in caplog.messages
    assert len(os.listdir(tmp_path / "s")) == 3


@pytest.mark.parametrize("layout", ["first", "last", "none"])
def test_arrays_of_bytes_are_written_as_pictures_too(tmp_path: Path, layout: str) -> None:
    shape = {"first": (3, 8, 8), "last": (8, 8, 3), "none": (8, 8)}[layout]
    pixels = np.random.default_rng(0).integers(0, 256, (20, *shape), dtype=np.uint8)
    np.save(tmp_path / "x.npy", pixels)
    spec = Arrays.model_validate({"path": str(tmp_path / "x.npy"), "channels": layout, "scale": "minmax"}).resolved()
    dataset = spec.load(torch.device("cpu"))
    network = torch.nn.Identity()
    config = load_config("normal_gp").model_copy(update={"data": spec})
    loaded = LoadedRun(network, network, config, 0, torch.device("cpu"), dataset.state_dict())
    samples = dataset.real(4, torch.Generator().manual_seed(0), heldout=False)
    check_out(tmp_path / "out", loaded)
    write(Drawn(samples, NAMES), tmp_path / "out", loaded)
    decoded = loaded.decode(samples)
    for name, values in zip(NAMES, decoded, strict=True):
        drawn = np.asarray(Image.open(tmp_path / "out" / f"{name}.png"))
        assert np.array_equal(drawn, np.moveaxis(values, 0, -1) if layout == "first" else values)
