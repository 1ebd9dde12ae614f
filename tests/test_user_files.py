"""A command that fails leaves everything of the user's as it was, whatever a path points to."""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import exit_code, made_up_checksums, write_made_up_mnist
from wgan_cli.data.mnist import Mnist

TINY = ("--device=cpu", "--set=training.iterations=2", "--set=training.batch_size=4", "--set=generator.hidden=[4]")


def _device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))  # /dev/null's own numbers
    except OSError:  # needs root
        path.symlink_to("/dev/null")


def _closed_folder(path: Path) -> None:
    path.mkdir(mode=0o555)


def _full_folder(path: Path) -> None:
    (path / "deep").mkdir(parents=True)
    (path / "thesis.tex").write_text("years of work")
    (path / ".lock").write_text("mine")
    (path / ".notes.tmp").write_text("mine")


THINGS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "a file": lambda path: path.write_text("mine"),
    "an empty file": lambda path: path.touch(),
    "an empty folder": lambda path: path.mkdir(),
    "a closed folder": _closed_folder,
    "a folder with files": _full_folder,
    "a link to a file": lambda path: path.symlink_to("precious"),
    "a link to a folder": lambda path: path.symlink_to("precious_folder"),
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a device": _device,
    "a pipe": lambda path: os.mkfifo(path),
}

# Each command fails by itself, whatever `place` is: its data, its checkpoint or its input is missing.
NO_DATA = ("train", "--config=mnist_mlp_gp", "--device=cpu")
COMMANDS: dict[str, tuple[str, ...]] = {
    "data.root": (*NO_DATA, "--out=new", "--set=data.root=PLACE"),
    "$WGAN_DATA of train": (*NO_DATA, "--out=new"),
    "$WGAN_DATA of distance": ("distance", "mnist:train", "mnist:test"),
    "the cache": (*NO_DATA, "--out=new"),
    "the cache's parent": (*NO_DATA, "--out=new"),
    "--out of train": (*NO_DATA, "--set=data.root=missing", "--out=PLACE"),
    "--out of train, resumed": (*NO_DATA, "--set=data.root=missing", "--out=PLACE", "--resume"),
    "--config of train": ("train", "--config=PLACE", "--set=data.root=missing"),
    "--config of distance": ("distance", "no.npy", "no.npy", "--method=critic", "--config=PLACE"),
    "--ckpt of sample": ("sample", "--ckpt=PLACE", "--out=new.png"),
    "--ckpt of evaluate": ("evaluate", "--ckpt=PLACE"),
    "--out of sample": ("sample", "--ckpt=missing", "--out=PLACE.png"),
    "--out of sample, a folder": ("sample", "--ckpt=missing", "--out=PLACE"),
    "--plot of distance": ("distance", "no.npy", "no.npy", "--plot=PLACE.png"),
    "--out of plot": ("plot", "missing", "--out=PLACE.png"),
    "a run of plot": ("plot", "PLACE", "--out=new.png"),
}

# What is at `place` when a write fails: a command that would succeed meets a full disk.
WRITES: dict[str, tuple[str, ...]] = {
    "train": ("train", "--config=normal_gp", "--out=PLACE", *TINY),
    "train, resumed": ("train", "--config=normal_gp", "--out=PLACE", "--resume", *TINY),
    "sample an array": ("sample", "--ckpt=normal_run", "--num=4", "--out=PLACE.npz", "--device=cpu"),
    "sample a picture": ("sample", "--ckpt=normal_run", "--num=4", "--out=PLACE.png", "--device=cpu"),
    "sample a folder": ("sample", "--ckpt=image_run", "--num=2", "--out=PLACE", "--device=cpu"),
    "plot": ("plot", "normal_run", "--out=PLACE.png"),
    "distance": ("distance", "x.csv", "x.csv", "--plot=PLACE.png"),
}


def state_of(root: Path) -> dict[str, tuple[object, ...]]:
    """Every path below `root`, links not followed: what it is, which one it is, and what it holds."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder) / name
            status = path.lstat()
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            found[str(path.relative_to(root))] = (status.st_mode, status.st_ino, status.st_rdev, content)
    return found


@contextmanager
def home(thing: str, name: str) -> Iterator[Path]:
    """A user's folder, which is the current one, with `thing` at `name` beside precious files."""
    before, root = Path.cwd(), Path(tempfile.mkdtemp())
    try:
        (root / "precious").write_text("mine")
        (root / "precious_folder").mkdir()
        (root / "precious_folder" / "mine").write_text("mine")
        THINGS[thing](root / name)
        os.chdir(root)
        yield root
    finally:
        os.chdir(before)
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def unreachable() -> Iterator[None]:
    """Mirrors that nothing listens on."""
    from torchvision.datasets import MNIST

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
        yield


@pytest.mark.usefixtures("unreachable")
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(COMMANDS)), st.sampled_from(sorted(THINGS)))
def test_a_failed_command_changes_nothing(command: str, thing: str) -> None:
    arguments = COMMANDS[command]
    name = "PLACE.png" if any("PLACE.png" in argument for argument in arguments) else "PLACE"
    with home(thing, name) as root, pytest.MonkeyPatch.context() as patch:
        patch.setenv("WGAN_DATA", "PLACE" if "$WGAN_DATA" in command else "")
        patch.setenv("XDG_CACHE_HOME", str(root / "PLACE") if command == "the cache's parent" else str(root / "cache"))
        if command == "the cache":
            (root / "cache").mkdir()
            (root / "cache" / "wgan").symlink_to("../PLACE")
        before = state_of(root)
        assert exit_code(*arguments) in (1, 2)
        assert state_of(root) == before


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands of `WRITES` read: a run of plain values, a run of images, and samples."""
    folder = tmp_path_factory.mktemp("material")
    images = write_made_up_mnist(folder / "images")
    (folder / "x.csv").write_text("1,2\n3,4\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mnist, "checksums", made_up_checksums(images))
        assert exit_code("train", "--config=normal_gp", f"--out={folder / 'normal_run'}", *TINY) == 0
        small = ("--set=critic.hidden=[4]", f"--set=data.root={images}")
        assert exit_code("train", "--config=mnist_mlp_gp", f"--out={folder / 'image_run'}", *TINY, *small) == 0
    return folder


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(WRITES)), st.sampled_from(sorted(THINGS)))
def test_a_full_disk_costs_no_file(material: Path, command: str, thing: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    arguments = WRITES[command]
    name = next(part for argument in arguments if (part := argument.partition("=")[2]).startswith("PLACE"))
    with home(thing, name) as root, pytest.MonkeyPatch.context() as patch:
        for path in material.iterdir():
            (root / path.name).symlink_to(path)
        before = state_of(root)
        patch.setattr("os.fsync", full)
        assert exit_code(*arguments) in (1, 2)
        assert state_of(root) == before
