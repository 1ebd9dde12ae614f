"""What users have in place of good data: each has its exit code and message, and nothing is written or lost."""

import io
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import Result, Wgan
from tests.data.pictures import encoded, noise, write_folder, zipped
from wgan_cli.runs.checkpoints import checkpoints
from wgan_cli.runs.folder import RunFolder

TINY = (
    *("generator={kind: mlp, hidden: [4]}", "critic={kind: mlp, hidden: [4]}", "latent.dim=2"),
    *("training.batch_size=4", "training.n_critic=1", "training.iterations=2", "lipschitz={kind: gp}"),
    *("output.log_every=2", "output.sample_every=1000", "output.checkpoint_every=2"),
)


@pytest.fixture
def train(wgan: Wgan) -> Wgan:
    """`train("path: x.npy")` trains a tiny network on such data, on the CPU."""

    def call(data: str, *more: str) -> Result:
        kind = "images, size: 8" if (Path.cwd() / "x").is_dir() or "x.zip" in data else "arrays"
        overrides = (*TINY, f"data={{kind: {kind}, {data}}}", *more)
        options = [item for text in overrides for item in (("--set", text) if not text.startswith("--") else (text,))]
        return wgan("train", "--config=normal_gp", "--device=cpu", *options)

    return call


def everything(*places: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() if path.is_file() else b"" for place in places for path in place.rglob("*")}


def header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": dtype, "fortran_order": False, "shape": shape})
    return content.getvalue()


def bomb() -> bytes:
    """A PNG of a few bytes that claims to be 60,000 pixels wide and high."""
    content = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + content + struct.pack(">I", zlib.crc32(content))


def _csv(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


def _table(change: Callable[[Any], None]) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        values = np.random.default_rng(0).normal(size=(20, 3))
        change(values)
        np.save(path, values)

    return write


def _all_nan(values: Any) -> None:
    values[:, 1] = np.nan


def _one_infinite(values: Any) -> None:
    values[19, 2] = np.inf


def _npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.zeros((9, 2)), b=np.zeros((9, 2)))


ROWS = "1,2\n3,5\n8,13\n"
BAD_FILES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "nothing": ("x.npy", lambda path: None, "x.npy: no such file"),
    "another ending": ("x.xlsx", lambda path: path.write_bytes(b"PK"), "x.xlsx: is not a .npy, .npz, .pt, .csv"),
    "an empty file": ("x.npy", lambda path: path.touch(), "x.npy: can't be read as .npy"),
    "a table named .npy": ("x.npy", _csv("a,b\n1,2\n"), "x.npy: can't be read as .npy"),
    "an .npz named .npy": ("x.npy", _npz, "x.npy: can't be read as .npy (it holds several arrays; name it .npz)"),
    "an .npy named .npz": (
        *("x.npz", lambda path: np.save(path.open("wb"), np.zeros((9, 2)))),
        "x.npz: can't be read as .npz (it holds one array alone; name it .npy)",
    ),
    "a picture named .npy": ("x.npy", lambda path: path.write_bytes(encoded(noise())), "x.npy: can't be read as .npy"),
    "an .npy named .csv": (
        "x.csv",
        lambda path: np.save(path.open("wb"), np.zeros(99)),
        "x.csv: can't be read as .csv",
    ),
    "objects": (
        *("x.npy", lambda path: np.save(path, np.array([{}, 1], object), allow_pickle=True)),
        "x.npy: can't be read as .npy (",
    ),
    "words": ("x.npy", lambda path: np.save(path, np.array(["a", "b"] * 9)), "x.npy: holds <U1 values"),
    "0-d": ("x.npy", lambda path: np.save(path, np.array(1.0)), "x.npy: holds no samples: its shape is ()"),
    "no rows": ("x.npy", lambda path: np.save(path, np.zeros((0, 3))), "x.npy: "),
    "no columns": ("x.npy", lambda path: np.save(path, np.zeros((9, 0))), "x.npy: "),
    "complex": ("x.npy", lambda path: np.save(path, np.zeros((9, 2), complex)), "x.npy: holds complex128 values"),
    "dates": ("x.npy", lambda path: np.save(path, np.zeros((9, 2), "M8[s]")), "x.npy: holds datetime64[s] values"),
    "a header that claims more": (
        *("x.npy", lambda path: path.write_bytes(header((1000, 1000)) + bytes(80))),
        "x.npy: can't be read as .npy (",
    ),
    "a header that claims a whole machine": (
        *("x.npy", lambda path: path.write_bytes(header((2**60, 2**60)) + bytes(80))),
        "x.npy: can't be read as .npy (",
    ),
    "a header that claims less than nothing": (
        *("x.npy", lambda path: path.write_bytes(header((-4, 2)) + bytes(80))),
        "x.npy: can't be read as .npy (",
    ),
    "half an .npz": (
        *("x.npz", lambda path: (_npz(path), path.write_bytes(path.read_bytes()[:300]))),
        "x.npz: can't be read as .npz (",
    ),
    "a column of NaN": (
        *("x.npy", _table(_all_nan)),
        "x.npy: holds a value that is not finite, in row 1, column 2 (from 1)",
    ),
    "one infinity": (
        *("x.npy", _table(_one_infinite)),
        "x.npy: holds a value that is not finite, in row 20, column 3 (from 1)",
    ),
    "a text cell": ("x.csv", _csv("a,b\n1,2\n3,red\n"), "(line 3, column 2 (b) holds 'red', which is no number; "),
    "an empty cell": (
        *("x.csv", _csv("a,b\n1,2\n,4\n")),
        "(line 3, column 1 (a) is empty; fill or remove it, or leave all such columns out by drop: [a]",
    ),
    "a short row": ("x.csv", _csv("1,2\n3\n"), "(line 2 has 1 values, the lines before it 2)"),
    "half a header": ("x.csv", _csv("a,2\n1,2\n"), "(line 1, column 1 holds 'a', which is no number; "),
    "a header alone": ("x.csv", _csv("a,b\n"), "x.csv: can't be read as .csv (it has no rows of numbers)"),
    "another width of header": ("x.csv", _csv("a,b,c\n1,2\n3,4\n"), "its header has 3 names, but its rows have 2"),
    "not UTF-8": ("x.csv", lambda path: path.write_bytes("größe\n1\n2\n3\n4\n".encode("latin-1")), "x.csv: can't be"),
    "NaN in a table": ("x.csv", _csv("a,b\n1,2\n3,nan\n"), "in row 2, column b; remove"),
    "too few samples": ("x.csv", _csv(ROWS), "x.csv: holds 3 samples; 2 to train on and 2 held-out"),
    "a batch too large": (
        "x.csv",
        _csv(ROWS + "21,34\n55,89\n"),
        "training.batch_size: 4 is larger than the 3 samples",
    ),
    "six dimensions": ("x.npy", lambda path: np.save(path, np.zeros((9, 1, 1, 1, 1, 1))), "its samples have 5 dimen"),
    "a sparse tensor": ("x.pt", lambda path: torch.save(torch.eye(3).to_sparse(), path), "holds a sparse or quantised"),
    "a state dict": ("x.pt", lambda path: torch.save({"a": torch.ones(3)}, path), "holds a dict, not a tensor"),
    "code": (
        "x.pt",
        lambda path: torch.save(print, path),
        "x.pt: refused: is damaged, or holds more than plain tensors and may carry code",
    ),
}


@pytest.mark.filterwarnings("error", "ignore::ResourceWarning")
@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_file_is_told_and_nothing_is_written(what: str, train: Wgan, cache: Path) -> None:
    name, make, message = BAD_FILES[what]
    make(Path(name))
    before = everything(Path.cwd())
    done = train(f"path: {name}")
    assert done.code == 2, done.err
    (line,) = (line for line in done.err.splitlines() if "is taken as a header" not in line)
    assert line.startswith("wgan: ")
    assert message in line
    assert done.out == ""
    assert everything(Path.cwd()) == before
    assert not cache.exists()


def _folder(*contents: bytes) -> Callable[[], object]:
    def write() -> None:
        Path("x").mkdir()
        for i, content in enumerate(contents):
            (Path("x") / f"{i}.png").write_bytes(content)

    return write


def _zip_with(*names: str) -> Callable[[], object]:
    def write() -> None:
        with zipfile.ZipFile("x.zip", "w") as archive:
            for name in names:
                archive.writestr(name, encoded(noise()))

    return write


def _half_a_zip() -> None:
    zipped(write_folder(Path("y")), Path("x.zip"))
    shutil.rmtree("y")
    Path("x.zip").write_bytes(Path("x.zip").read_bytes()[:-200])


GOOD = [encoded(noise(seed)) for seed in range(8)]
BAD_PICTURES: dict[str, tuple[str, Callable[[], object], str]] = {
    "an empty folder": ("x", _folder(), "x: holds no pictures (.png, .jpg"),
    "a folder of text": ("x", lambda: (Path("x").mkdir(), (Path("x") / "a.txt").touch()), "x: holds no pictures"),
    "one picture": ("x", _folder(GOOD[0]), "x: holds 1 samples; 2 to train on and 2 held-out ones need 4"),
    "bombs": ("x", _folder(*[bomb()] * 4), "x: 4 of 4 pictures can't be read; first: "),
    "a renamed text": ("x", _folder(*GOOD, b"text"), "1 of 9 pictures can't be read; first: "),
    "a zip with ../": ("x.zip", _zip_with("a.png", "../b.png"), "x.zip: holds the name '../b.png', which leads out"),
    "a zip of nothing": ("x.zip", _zip_with(), "x.zip: holds no pictures"),
    "half a zip": ("x.zip", _half_a_zip, "x.zip: truncated, damaged, or not a .zip"),
    "no zip at all": ("x.zip", lambda: Path("x.zip").write_text("text"), "x.zip: truncated, damaged, or not a .zip"),
    "nowhere": ("x.zip", lambda: None, "x.zip: is no folder of pictures, nor a .zip of one"),
}


@pytest.mark.parametrize("what", BAD_PICTURES)
def test_bad_pictures_are_told_and_nothing_is_written(what: str, train: Wgan, cache: Path, tmp_path: Path) -> None:
    path, make, message = BAD_PICTURES[what]
    make()
    before = everything(tmp_path)
    done = train(f"path: {path}")
    assert done.code == 2, done.err
    (line,) = done.err.splitlines()
    assert message in line
    assert done.out == ""
    after = everything(tmp_path)
    if what == "one picture":  # it was decoded well, and is kept so in the cache
        after = {file: content for file, content in after.items() if cache not in (file, *file.parents)}
    assert after == before


def test_unusual_pictures_are_trained_on(train: Wgan) -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    _folder(
        *GOOD,
        encoded(Image.new("CMYK", (8, 12), (10, 90, 0, 5)), "JPEG"),
        encoded(Image.fromarray(np.full((20, 8), 40_000, np.uint16))),
        encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        encoded(Image.new("LA", (8, 8), (7, 7))),
        encoded(Image.new("RGB", (8, 8), "white"), "BMP"),
    )()
    done = train("path: x")
    assert done.code == 0, done.err
    assert "can't be read" not in done.err


def test_a_bomb_among_many_is_named_and_left_out(train: Wgan) -> None:
    write_folder(Path("x"), 100)
    (Path("x") / "bomb.png").write_bytes(bomb())
    done = train("path: x")
    assert done.code == 0, done.err
    assert "x/bomb.png: can't be read as a picture (" in done.err


def test_a_class_with_one_picture_is_told(train: Wgan) -> None:
    write_folder(Path("x"), 20, ("red", "green"))
    write_folder(Path("x"), 1, ("blue",))
    done = train("path: x", "condition={kind: labels}")
    assert done.code == 0, done.err
    assert "condition: classes with at most one sample to train on: blue" in done.err


def test_a_constant_column_is_told_and_kept(train: Wgan, wgan: Wgan) -> None:
    Path("x.csv").write_text("a,b\n" + "\n".join(f"{i * 0.3},0.7" for i in range(20)))
    done = train("path: x.csv")
    assert done.code == 0, done.err
    assert "data.path: column or channel b is constant; every sample gets 0.7" in done.err
    assert wgan("sample", "--ckpt", done.out.strip(), "--out=y.csv", "--num=9", "--device=cpu").code == 0
    assert [row.split(",")[1] for row in Path("y.csv").read_text().split()] == ["b", *["0.7"] * 9]


def test_a_file_that_changes_while_it_trains_ends_the_run_and_loses_nothing(
    train: Wgan, wgan: Wgan, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = np.random.default_rng(0).normal(size=(20, 3))
    np.save("x.npy", good)
    content = Path("x.npy").read_bytes()
    checkpoint = RunFolder.checkpoint

    def changing(self: RunFolder, state: Any, step: int, **which: bool) -> None:
        checkpoint(self, state, step, **which)
        if step == 4:
            np.save("x.npy", good[:5])

    more = ("--out=run", "training.iterations=20")
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "checkpoint", changing)
        done = train("path: x.npy, resident: false", *more)
    assert done.code == 1
    assert "x.npy: has changed while the run trained on it; the last checkpoint is kept" in done.err
    newest = checkpoints(Path("run"))[0]
    assert newest.name >= "000000004.pt"
    before = everything(Path("run"))
    refused = train("path: x.npy, resident: false", *more, "--resume")
    assert refused.code == 2
    assert everything(Path("run")) == before
    assert wgan("sample", "--ckpt=run", "--device=cpu", "--num=4").code == 0
    Path("x.npy").write_bytes(content)
    resumed = train("path: x.npy, resident: false", *more, "--resume")
    assert resumed.code == 0, resumed.err


def test_a_run_whose_data_is_gone_samples_but_does_not_go_on(train: Wgan, wgan: Wgan) -> None:
    write_folder(Path("x"), 12, ("red", "blue"))
    done = train("path: x", "condition={kind: labels}", "--out=run")
    assert done.code == 0, done.err
    Path("x").rename("y")
    before = everything(Path("run"))
    assert wgan("sample", "--ckpt=run", "--class=red", "--num=4", "--device=cpu").code == 0
    for command in (("evaluate", "--ckpt=run", "--device=cpu"), ("train", "--config=run/config.yaml", "--out=run")):
        more = ("--resume", "--set=training.iterations=4", "--device=cpu") if command[0] == "train" else ()
        refused = wgan(*command, *more)
        assert refused.code == 2
        assert "x: is no folder of pictures, nor a .zip of one" in refused.err
    assert everything(Path("run")) == before
