import gzip
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.data.conftest import NOBODY_LISTENS, Mirror
from tests.helpers import made_up_checksums, write_made_up_mnist
from wgan_cli.data import KINDS
from wgan_cli.data.mnist import Mnist, MnistFiles
from wgan_cli.data.pixels import scale
from wgan_cli.errors import BadInputError

CPU = torch.device("cpu")
PUBLISHED = Mnist.checksums
ALL_OF_ITS_FORMAT = [kind for kind in KINDS if issubclass(kind, MnistFiles)]


def unpack(folder: Path) -> None:
    for path in folder.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()


@pytest.mark.parametrize(("split", "count", "grey"), [("train", 96, 100), ("test", 32, 200)])
@pytest.mark.parametrize("zipped", [True, False])
def test_the_files_are_read_gzipped_or_not(
    made_up_mnist: Path, split: str, count: int, grey: int, zipped: bool
) -> None:
    if not zipped:
        unpack(made_up_mnist / "MNIST" / "raw")
    spec = Mnist.model_validate({"root": str(made_up_mnist), "split": split})
    samples = spec.samples()
    assert samples.shape == (count, *spec.sample_shape)
    greys = torch.arange(grey, grey + count, dtype=torch.uint8)
    assert torch.equal(samples.amax((1, 2, 3)), scale(greys))
    assert samples.min() == -1
    labelled = spec.load(CPU).labelled(heldout=False)
    assert labelled is not None
    assert labelled[1].tolist() == [i % 10 for i in range(count)]


def test_held_out_images_are_of_the_other_split(made_up_mnist: Path) -> None:
    spec = Mnist(root=str(made_up_mnist))
    for split, other in (("train", "test"), ("test", "train")):
        heldout = spec.model_copy(update={"split": split}).load(CPU).heldout()
        assert heldout is not None
        others = spec.model_copy(update={"split": other}).samples().flatten(1)
        differences = (heldout.flatten(1)[:, None] - others).abs().amax(2)
        assert (differences.amin(1) == 0).all()


def test_the_truth_of_a_shift_is_its_length(made_up_mnist: Path) -> None:
    dataset = Mnist(root=str(made_up_mnist)).load(CPU)
    heldout = dataset.heldout()
    assert heldout is not None
    assert dataset.truth(heldout.flip(0))["truth/w1"].item() == pytest.approx(0, abs=1e-2)
    shifted = dataset.truth(heldout + 0.5)
    assert shifted["truth/w1"].item() == pytest.approx(0.5 * 28, rel=1e-4)
    assert shifted["truth/w1_floor"].item() > 1


def test_real_mnist_is_what_lecun_published(real_mnist: Path) -> None:
    train, test = Mnist(root=str(real_mnist)), Mnist(root=str(real_mnist), split="test")
    labelled = train.load(CPU).labelled(heldout=False)
    assert labelled is not None
    images, labels = labelled
    assert images.shape == (60_000, 1, 28, 28)
    assert (images.double().mean().item() + 1) / 2 == pytest.approx(0.1307, abs=1e-4)  # as every tutorial normalises
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert len(test.samples()) == test.sample_count == 10_000


@pytest.mark.parametrize("kind", ALL_OF_ITS_FORMAT)
def test_checksums_are_those_of_torchvision(kind: type[MnistFiles]) -> None:
    import torchvision

    published = getattr(torchvision.datasets, kind.title)
    assert {f"{name}.gz": checksum.gzipped for name, checksum in kind.checksums.items()} == dict(published.resources)


def test_root_falls_back_to_the_environment_then_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WGAN_DATA", "/somewhere")
    assert Mnist().folder == Path("/somewhere/MNIST/raw")
    assert Mnist(root="data").folder == Path("data/MNIST/raw")
    monkeypatch.delenv("WGAN_DATA")
    assert Mnist().folder == cache / "MNIST/raw"


@pytest.mark.parametrize("kind", ALL_OF_ITS_FORMAT)
def test_each_dataset_has_a_folder_of_its_own(kind: type[MnistFiles]) -> None:
    assert kind(root="data").folder == Path("data") / kind.title / "raw"


@pytest.mark.parametrize("damage", ["truncated", "empty", "no gzip", "short inside", "no idx"])
def test_a_damaged_file_is_named_and_kept(made_up_mnist: Path, damage: str) -> None:
    path = made_up_mnist / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    damaged = {
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "no gzip": b"<html>not found</html>",
        "short inside": gzip.compress(gzip.decompress(whole)[:-1]),
        "no idx": gzip.compress(b"abcdefgh" * 100),
    }[damage]
    path.write_bytes(damaged)
    with pytest.raises(BadInputError, match=f"{path.name}.*delete it"):
        Mnist(root=str(made_up_mnist)).load(CPU)
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("zipped", [True, False])
def test_made_up_files_do_not_pass_for_mnist(
    made_up_mnist: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    if not zipped:
        unpack(made_up_mnist / "MNIST" / "raw")
    monkeypatch.setattr(Mnist, "checksums", PUBLISHED)
    with pytest.raises(BadInputError, match="wrong checksum"):
        Mnist(root=str(made_up_mnist)).load(CPU)


def test_configs_of_version_0_1_are_read() -> None:
    assert Mnist.model_validate({"kind": "mnist", "checksums": True}) == Mnist()
    with pytest.raises(ValueError, match="checksums"):
        Mnist.model_validate({"kind": "mnist", "checksums": False})


def test_the_file_that_can_be_checked_is_preferred(made_up_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FashionMNIST's checksums are of the gzipped files alone."""
    name, folder = "train-images-idx3-ubyte", made_up_mnist / "MNIST" / "raw"
    (folder / name).write_bytes(b"somebody's own")
    with pytest.raises(BadInputError, match="wrong checksum"):
        Mnist(root=str(made_up_mnist)).samples()
    gzipped_alone = {each: type(checksum)(checksum.gzipped) for each, checksum in Mnist.checksums.items()}
    monkeypatch.setattr(Mnist, "checksums", gzipped_alone)
    assert Mnist(root=str(made_up_mnist)).samples().shape == (96, 1, 28, 28)


@pytest.fixture
def published(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """A mirror that serves the made-up files, which pass for MNIST."""
    from torchvision.datasets import MNIST

    root = write_made_up_mnist(mirror.folder)
    checksums = made_up_checksums(root)
    monkeypatch.setattr(Mnist, "checksums", checksums)
    monkeypatch.setattr(MNIST, "mirrors", [f"{mirror.address}MNIST/raw/"])
    monkeypatch.setattr(MNIST, "resources", [(f"{name}.gz", checksum.gzipped) for name, checksum in checksums.items()])
    return mirror


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", [NOBODY_LISTENS])


def test_absent_files_are_downloaded_once(published: Mirror, tmp_path: Path) -> None:
    spec = Mnist(root=str(tmp_path / "downloaded"))
    assert spec.samples().shape == (96, 1, 28, 28)
    assert sorted(path.name for path in spec.folder.iterdir()) == sorted(f"{name}.gz" for name in Mnist.checksums)
    assert {Path(request).name for request in published.requests} == {f"{name}.gz" for name in Mnist.checksums}
    published.requests.clear()
    spec.load(CPU)
    assert published.requests == []


def test_a_download_leaves_the_files_that_are_there(published: Mirror, tmp_path: Path) -> None:
    spec = Mnist(root=str(tmp_path / "partial"))
    spec.folder.mkdir(parents=True)
    mine = spec.folder / "train-images-idx3-ubyte"
    mine.write_bytes(b"mine")
    with pytest.raises(BadInputError, match="wrong checksum"):
        spec.load(CPU)
    assert mine.read_bytes() == b"mine"
    assert "MNIST/raw/train-images-idx3-ubyte.gz" not in published.requests


def test_a_download_of_other_bytes_is_refused(published: Mirror, tmp_path: Path) -> None:
    served = published.folder / "MNIST" / "raw"
    (served / "train-labels-idx1-ubyte.gz").write_bytes((served / "t10k-labels-idx1-ubyte.gz").read_bytes())
    spec = Mnist(root=str(tmp_path / "changed"))
    with pytest.raises(BadInputError, match="could not be downloaded"):
        spec.load(CPU)
    assert not (spec.folder / "train-labels-idx1-ubyte.gz").exists()


def test_a_read_only_folder_with_the_files_will_do(made_up_mnist: Path) -> None:
    folder = made_up_mnist / "MNIST" / "raw"
    before = {path.name for path in made_up_mnist.rglob("*")}
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        Mnist(root=str(made_up_mnist)).load(CPU)
    finally:
        folder.chmod(stat.S_IRWXU)
    assert {path.name for path in made_up_mnist.rglob("*")} == before


@pytest.mark.usefixtures("_no_network")
def test_without_network_the_files_and_folder_are_named(tmp_path: Path) -> None:
    root = tmp_path / "nowhere"
    with pytest.raises(BadInputError) as caught:
        Mnist(root=str(root)).load(CPU)
    for part in (str(root / "MNIST" / "raw"), "t10k-labels-idx1-ubyte.gz", "data.root", "$WGAN_DATA"):
        assert part in str(caught.value)


PLACES: dict[str, Callable[[Path, Path], object]] = {
    "file": lambda root, mine: root.write_text("mine"),
    "empty folder": lambda root, mine: root.mkdir(),
    "link to a file": lambda root, mine: root.symlink_to(mine),
    "link to nowhere": lambda root, mine: root.symlink_to(mine.with_name("nowhere")),
    "device": lambda root, mine: root.symlink_to("/dev/null"),
}


@pytest.mark.usefixtures("_no_network")
@pytest.mark.parametrize("place", PLACES)
def test_a_failed_download_leaves_the_users_files(place: str, tmp_path: Path) -> None:
    root, mine = tmp_path / "root", tmp_path / "mine"
    mine.write_text("mine")
    PLACES[place](root, mine)
    before = {path: (path.lstat().st_mode, path.lstat().st_ino) for path in tmp_path.rglob("*")}
    with pytest.raises(BadInputError, match=r"data\.root"):
        Mnist(root=str(root)).load(CPU)
    assert {path: (path.lstat().st_mode, path.lstat().st_ino) for path in tmp_path.rglob("*")} == before
    assert mine.read_text() == "mine"
