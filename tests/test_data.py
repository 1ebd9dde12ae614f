import gzip
import hashlib
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from scipy import integrate, stats

from wgan_cli import data
from wgan_cli.data import Mnist, Normal
from wgan_cli.errors import BadInputError, ExitCode

CPU = torch.device("cpu")


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("features", [1, 512])
def test_normal_draws_its_own_distribution(features: int) -> None:
    batches = Normal(mean=3.0, std=2.0, features=features).load(CPU).batches(8192 // features, stream())
    draws = torch.cat([batches.next().flatten() for _ in range(10)])
    assert stats.kstest(draws.numpy(), stats.norm(3, 2).cdf).pvalue > 1e-3


def test_normal_density_is_a_density_with_the_right_moments() -> None:
    def weighted(power: int) -> float:
        return integrate.quad(lambda x: x**power * float(spec.density(torch.tensor(x))), -40, 40)[0]

    spec = Normal(mean=3.0, std=2.0)
    assert [weighted(0), weighted(1), weighted(2)] == pytest.approx([1, 3, 9 + 4], rel=1e-5)


def test_the_normals_figures_hold_the_distance_to_the_normal_itself() -> None:
    dataset = Normal(mean=3.0, std=2.0).load(CPU)
    draws = torch.randn(200_000, 1, generator=stream())
    exact = dataset.figures(draws * 2 + 3)
    assert exact["samples/mean"].item() == pytest.approx(3, abs=0.02)
    assert exact["samples/std"].item() == pytest.approx(2, abs=0.02)
    assert exact["truth/w1"].item() < 0.02
    assert dataset.figures(draws * 2 + 4)["truth/w1"].item() == pytest.approx(1, abs=0.02)  # W1 of a shift


def test_batches_of_the_normal_are_fresh() -> None:
    batches = Normal().load(CPU).batches(16, stream())
    assert not torch.equal(batches.next(), batches.next())


def test_mnist_batches_are_scaled_and_cover_a_pass_once(made_up_mnist: Path) -> None:
    dataset = Mnist(root=str(made_up_mnist), checksums=False).load(CPU)
    batches = dataset.batches(20, stream())
    one_pass = torch.cat([batches.next() for _ in range(4)])  # 96 images: the last 16 are dropped
    assert one_pass.shape == (80, 1, 28, 28)
    assert one_pass.min() == -1
    assert one_pass.amax((1, 2, 3)).unique().numel() == 80  # each image has a grey of its own
    assert not torch.equal(batches.next(), one_pass[:20])  # the next pass has another order


def test_mnist_goes_on_in_the_middle_of_a_pass(made_up_mnist: Path) -> None:
    dataset = Mnist(root=str(made_up_mnist), checksums=False).load(CPU)
    batches = dataset.batches(32, stream())
    batches.next()
    state = batches.state_dict()
    expected = [batches.next() for _ in range(5)]  # crosses into the next pass
    resumed = dataset.batches(32, stream(99))
    resumed.load_state_dict(state)
    assert all(torch.equal(resumed.next(), batch) for batch in expected)


def test_held_out_images_are_of_the_other_split(made_up_mnist: Path) -> None:
    spec = Mnist(root=str(made_up_mnist), checksums=False)
    for split, other in (("train", "test"), ("test", "train")):
        heldout = spec.model_copy(update={"split": split}).load(CPU).heldout()
        assert heldout is not None
        others = data.scale(spec.model_copy(update={"split": other}).read("images")).flatten(1)
        differences = (heldout.flatten(1)[:, None] - others).abs().amax(2)
        assert (differences.amin(1) == 0).all()


def test_the_truth_of_images_is_an_exact_distance_beside_its_floor(made_up_mnist: Path) -> None:
    dataset = Mnist(root=str(made_up_mnist), checksums=False).load(CPU)
    heldout = dataset.heldout()
    assert heldout is not None
    same = dataset.truth(heldout.flip(0))
    assert same["truth/w1"].item() == pytest.approx(0, abs=1e-2)
    shifted = dataset.truth(heldout + 0.5)  # W1 of a shift is its length
    assert shifted["truth/w1"].item() == pytest.approx(0.5 * 28, rel=1e-4)
    assert shifted["truth/w1_floor"].item() > 1


@pytest.mark.parametrize(("split", "count"), [("train", 96), ("test", 32)])
@pytest.mark.parametrize("zipped", [True, False])
def test_mnist_reads_its_files_gzipped_or_not(made_up_mnist: Path, split: str, count: int, zipped: bool) -> None:
    if not zipped:
        for path in (made_up_mnist / "MNIST" / "raw").glob("*.gz"):
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()
    spec = Mnist.model_validate({"root": str(made_up_mnist), "split": split, "checksums": False})
    assert spec.read("images").shape == (count, 28, 28)
    assert spec.read("labels").tolist() == [i % 10 for i in range(count)]


def test_real_mnist_is_what_lecun_published(real_mnist: Path) -> None:
    train, test = Mnist(root=str(real_mnist)), Mnist(root=str(real_mnist), split="test")
    images = train.read("images")
    assert images.shape == (60_000, 28, 28)
    assert images.double().mean().item() / 255 == pytest.approx(0.1307, abs=1e-4)  # as every tutorial normalises
    assert train.read("labels")[:5].tolist() == [5, 0, 4, 1, 9]
    assert len(test.read("images")) == test.size == 10_000


def test_checksums_are_those_of_torchvision() -> None:
    from torchvision.datasets import MNIST

    assert {f"{name}.gz": sums[0] for name, sums in data._MNIST_MD5.items()} == dict(MNIST.resources)


def test_root_falls_back_to_the_environment_then_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WGAN_DATA", "/somewhere")
    assert Mnist().folder == Path("/somewhere/MNIST/raw")
    assert Mnist(root="data").folder == Path("data/MNIST/raw")
    monkeypatch.delenv("WGAN_DATA")
    assert Mnist().folder.parent.parent.name == "wgan"


def damage(root: Path, change: str) -> Path:
    path = root / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    damaged = {
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "no gzip": b"<html>not found</html>",
        "short inside": gzip.compress(gzip.decompress(whole)[:-1]),
        "no idx": gzip.compress(b"abcdefgh" * 100),
    }
    path.write_bytes(damaged[change])
    return path


@pytest.mark.parametrize("change", ["truncated", "empty", "no gzip", "short inside", "no idx"])
@pytest.mark.parametrize("checksums", [True, False])
def test_a_damaged_file_is_named_and_kept(made_up_mnist: Path, change: str, checksums: bool) -> None:
    path = damage(made_up_mnist, change)
    before = path.read_bytes()
    with pytest.raises(BadInputError, match=f"{path.name}.*delete it") as caught:
        Mnist(root=str(made_up_mnist), checksums=checksums).load(CPU)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert path.read_bytes() == before


def test_made_up_files_do_not_pass_for_mnist(made_up_mnist: Path) -> None:
    with pytest.raises(BadInputError, match="wrong checksum"):
        Mnist(root=str(made_up_mnist)).load(CPU)


def test_a_batch_larger_than_the_data_is_refused(made_up_mnist: Path) -> None:
    dataset = Mnist(root=str(made_up_mnist), checksums=False).load(CPU)
    with pytest.raises(BadInputError, match=r"training\.batch_size: 97 is larger than the 96 samples"):
        dataset.batches(97, stream())


@pytest.fixture
def mirror(made_up_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local stand-in for MNIST's mirrors, which serves the made-up files under their own checksums."""
    from torchvision.datasets import MNIST

    served = made_up_mnist / "MNIST" / "raw"
    sums = {name: hashlib.md5((served / f"{name}.gz").read_bytes()).hexdigest() for name in data._MNIST_MD5}
    handler = partial(SimpleHTTPRequestHandler, directory=str(served))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(MNIST, "resources", [(f"{name}.gz", md5) for name, md5 in sums.items()])
    monkeypatch.setattr(data, "_MNIST_MD5", {name: (md5, "") for name, md5 in sums.items()})
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def test_absent_files_are_downloaded_once(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "downloaded"
    spec = Mnist(root=str(target))
    assert spec.read("images").shape == (96, 28, 28)
    assert sorted(path.name for path in spec.folder.iterdir()) == sorted(f"{name}.gz" for name in data._MNIST_MD5)
    monkeypatch.setattr(data, "_download", lambda *_: pytest.fail("downloaded again"))
    assert spec.read("labels").shape == (96,)


def test_a_download_leaves_the_files_that_are_there(mirror: Path, tmp_path: Path) -> None:
    spec = Mnist(root=str(tmp_path / "partial"))
    spec.folder.mkdir(parents=True)
    mine = spec.folder / "train-images-idx3-ubyte"
    mine.write_bytes(b"mine")
    with pytest.raises(BadInputError, match="wrong checksum"):
        spec.load(CPU)
    assert mine.read_bytes() == b"mine"


def test_a_download_of_other_bytes_is_refused(mirror: Path, tmp_path: Path) -> None:
    shutil.copy(mirror / "t10k-labels-idx1-ubyte.gz", mirror / "train-labels-idx1-ubyte.gz")
    spec = Mnist(root=str(tmp_path / "changed"))
    with pytest.raises(BadInputError, match="could not be downloaded"):
        spec.load(CPU)
    assert not (spec.folder / "train-labels-idx1-ubyte.gz").exists()


def test_without_network_the_files_and_folder_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])  # nothing listens on the discard port
    root = tmp_path / "nowhere"
    with pytest.raises(BadInputError) as caught:
        Mnist(root=str(root)).load(CPU)
    for part in (str(root / "MNIST" / "raw"), "t10k-labels-idx1-ubyte.gz", "data.root", "$WGAN_DATA"):
        assert part in str(caught.value)


@pytest.mark.parametrize("kind", ["file", "empty folder", "link to a file", "link to nowhere", "device"])
def test_a_failed_download_leaves_the_users_files(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    root, mine = tmp_path / "root", tmp_path / "mine"
    mine.write_text("mine")
    {
        "file": lambda: root.write_text("mine"),
        "empty folder": root.mkdir,
        "link to a file": lambda: root.symlink_to(mine),
        "link to nowhere": lambda: root.symlink_to(tmp_path / "nowhere"),
        "device": lambda: root.symlink_to("/dev/null"),
    }[kind]()
    before = {path: (path.lstat().st_mode, path.lstat().st_ino) for path in tmp_path.rglob("*")}
    with pytest.raises(BadInputError, match=r"data\.root"):
        Mnist(root=str(root)).load(CPU)
    assert {path: (path.lstat().st_mode, path.lstat().st_ino) for path in tmp_path.rglob("*")} == before
    assert mine.read_text() == "mine"
