import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import Wgan
from wgan_cli.data.cifar10 import Cifar10
from wgan_cli.data.pixels import scale
from wgan_cli.errors import BadInputError
from wgan_cli.evaluation.points import read_points


def read(source: object, most: int = 10) -> torch.Tensor:
    (points,) = read_points([str(source)], most, torch.Generator().manual_seed(0)).sets
    return points


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64])
def test_numbers_become_points(tmp_path: Path, kind: type) -> None:
    values = np.array([[1, 2], [3, 4], [-1, 0]], dtype=kind)
    np.save(tmp_path / "x.npy", values)
    points = read(tmp_path / "x.npy")
    assert points.dtype == torch.float64
    assert points.tolist() == values.tolist()


def test_images_of_bytes_are_scaled_and_flattened(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", samples=np.array([0, 255, 51, 51], dtype=np.uint8).reshape(2, 2, 1, 1))
    points = read(tmp_path / "x.npz")
    assert points.shape == (2, 2)
    assert points.flatten().tolist() == pytest.approx([-1, 1, -0.6, -0.6])


def test_that_bytes_are_scaled_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Beside the same numbers of another type, they would be far from them without a word."""
    caplog.set_level(logging.INFO, "wgan")
    for kind in (np.int64, np.uint8):
        np.save(tmp_path / f"{kind.__name__}.npy", np.arange(6, dtype=kind).reshape(2, 3))
        read(tmp_path / f"{kind.__name__}.npy")
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path / 'uint8.npy'}: holds bytes")
    assert "0 to 255 for -1 to 1" in message


def test_of_too_many_samples_some_are_drawn_without_replacement(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wgan")
    np.save(tmp_path / "x.npy", np.arange(100.0))
    drawn = read(tmp_path / "x.npy", 30)
    assert drawn.shape == (30, 1)
    assert drawn.unique().numel() == 30
    assert caplog.messages == [f"{tmp_path / 'x.npy'}: 30 of its 100 samples are drawn; --num takes more"]


def test_real_mnist_by_name(real_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WGAN_DATA", str(real_mnist))
    assert read("mnist:test", 7).shape == (7, 784)


def test_a_split_by_name_is_scaled(made_up_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WGAN_DATA", str(made_up_mnist))
    points = read("mnist:test", 100)
    assert points.shape == (32, 784)
    assert points.min() == -1


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "x.npy", np.arange(3.0))
    assert read("~/x.npy").shape == (3, 1)


COLOUR = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The images of COLOUR as PNGs of a folder, two of them in one below it."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for i, pixels in enumerate(COLOUR):
        Image.fromarray(pixels).save(folder / ("more" if i > 3 else "") / f"{i}.png")
    return folder


def test_pictures_are_the_same_points_as_an_array_of_them(pictures: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", samples=COLOUR)
    shutil.make_archive(str(pictures), "zip", pictures)
    points = read(tmp_path / "x.npz")
    assert torch.equal(read(pictures), points)
    assert torch.equal(read(pictures.with_suffix(".zip")), points)


def test_images_of_a_dataset_are_the_same_points_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its channels are first, those of files last."""
    channels_first = scale(torch.from_numpy(COLOUR)).movedim(-1, 1)
    monkeypatch.setattr(Cifar10, "samples", lambda _: channels_first)
    np.savez(tmp_path / "x.npz", samples=COLOUR)
    assert torch.equal(read("cifar10:test"), read(tmp_path / "x.npz"))


def test_pictures_of_several_sizes_are_refused(pictures: Path) -> None:
    Image.new("RGB", (4, 4)).save(pictures / "other.png")
    with pytest.raises(BadInputError, match="pictures: its pictures have 2 sizes, such as 5 x 4 and 4 x 4; give all"):
        read(pictures)


def test_a_key_names_the_array_of_files_that_have_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", waves=np.arange(6.0).reshape(3, 2), others=np.zeros(4))
    np.savez(tmp_path / "b.npz", samples=np.ones((3, 2)))
    files = [str(tmp_path / name) for name in ("a.npz", "b.npz")]
    one, two = read_points(files, 9, torch.Generator(), key="waves").sets
    assert (one.tolist(), two.tolist()) == ([[0, 1], [2, 3], [4, 5]], [[1, 1]] * 3)
    with pytest.raises(BadInputError, match=r"--key wave: no \.npz file has an array of this name"):
        read_points([str(tmp_path / "a.npz")], 9, torch.Generator(), key="wave")


def test_values_in_another_order_are_refused(pictures: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.moveaxis(COLOUR, -1, 1))
    with pytest.raises(BadInputError, match=r"its samples have shape \(3, 4, 5\), those of .* \(4, 5, 3\); bring"):
        read_points([str(pictures), str(tmp_path / "x.npy")], 9, torch.Generator())
    np.save(tmp_path / "flat.npy", COLOUR.reshape(6, -1))
    one, other = read_points([str(pictures), str(tmp_path / "flat.npy")], 9, torch.Generator()).sets
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"", r"is not a \.npy, \.npz, \.pt, .* nor a folder .* nor one of mnist:train"),
        (
            "mnist:both",
            None,
            r"is not a \.npy, \.npz, \.pt, .* nor a folder .* nor one of mnist:train",
        ),
        ("x.csv", b"1,nan\n", "not finite"),
        ("x.csv", b"1,-inf\n", "not finite"),
        ("x.csv", b"1,1e200\n", r"its largest value is 1\.0e\+200, .* divide all sets by the same number"),
        ("x.csv", b"1e-200,-3e-200\n", r"its largest value is 3\.0e-200"),
    ],
)
def test_bad_sources_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(BadInputError, match=message) as caught:
        read(name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_columns_are_compared_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,10\n2,20\n")
    (tmp_path / "b.csv").write_text("y,x\n10,1\n20,2\n")
    (tmp_path / "c.csv").write_text("z,x\n10,1\n20,2\n")
    one, other = read_points([str(tmp_path / name) for name in ("a.csv", "b.csv")], 9, torch.Generator()).sets
    assert torch.equal(one, other)
    told = r"c\.csv has no y, and .*a\.csv has no z, but both need .*; drop: \[y, z\] in a config, or --drop y,z leaves"
    with pytest.raises(BadInputError, match=told):
        read_points([str(tmp_path / name) for name in ("a.csv", "c.csv")], 9, torch.Generator())


def test_a_wide_column_is_told_and_scaled(wgan: Wgan, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((300, 3)) * [1.0, 500.0, 0.0]
    for name, shift in (("a", [2.0, 0.0, 0.0]), ("b", [0.0, 0.0, 0.0])):
        rows = "\n".join(",".join(map(str, row)) for row in values + shift)
        (tmp_path / f"{name}.csv").write_text(f"small,wide,constant\n{rows}\n")
    files = str(tmp_path / "a.csv"), str(tmp_path / "b.csv")
    plain = wgan("distance", *files, "--json")
    assert "nearly all of column wide, which has 100 % of B's variance; --scale divides" in plain.err
    scaled = wgan("distance", *files, "--scale", "--json")
    assert "nearly all" not in scaled.err
    assert json.loads(scaled.out)["w1"] == pytest.approx(2 / values[:, 0].std())
    even = wgan("distance", files[0], files[0])
    assert "nearly all of column wide" in even.err
    np.save(tmp_path / "n.npy", values[:, :1])
    assert "nearly all" not in wgan("distance", str(tmp_path / "n.npy"), str(tmp_path / "n.npy")).err
