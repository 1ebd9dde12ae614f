import hashlib
import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from wgan_cli.data import Cifar10, cifar10, find_split
from wgan_cli.data.finite import FiniteDataset
from wgan_cli.errors import BadInputError

CPU = torch.device("cpu")
NAMES = (*cifar10.TRAIN, "test_batch")


def batch(seed: int) -> dict[bytes, Any]:
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 256, (8, 3072), dtype=np.uint8)
    return {b"data": data, b"labels": [int(label) for label in rng.integers(0, 10, 8)]}


def pickled(seed: int) -> bytes:
    """A batch as Python 2 pickled it: its keys are neither text nor bytes."""
    content = pickle.dumps(batch(seed), 3)
    return content.replace(b"C\x04data", b"U\x04data").replace(b"C\x06labels", b"U\x06labels")


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture(params=["folder", "archive"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six made-up batches of 8 images, whose checksums pass for CIFAR-10's."""
    contents = {name: pickled(seed) for seed, name in enumerate(NAMES)}
    monkeypatch.setattr(Cifar10, "checksums", {name: md5(content) for name, content in contents.items()})
    write(tmp_path, contents, request.param)
    return tmp_path


def write(root: Path, contents: dict[str, bytes], form: str) -> None:
    if form == "folder":
        (root / "cifar-10-batches-py").mkdir(exist_ok=True)
        for name, content in contents.items():
            (root / "cifar-10-batches-py" / name).write_bytes(content)
        return
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def change(root: Path, name: str, content: bytes) -> None:
    """Puts other bytes in the place of one batch, in the folder or the archive."""
    if (root / "cifar-10-batches-py").is_dir():
        return write(root, {name: content}, "folder")
    with tarfile.open(root / "cifar-10-python.tar.gz") as archive:
        files = {Path(member.name).name: archive.extractfile(member) for member in archive}
        contents = {key: file.read() for key, file in files.items() if file}
    return write(root, contents | {name: content}, "archive")


def test_five_batches_are_trained_on_and_one_is_held_out(root: Path) -> None:
    dataset = Cifar10(root=str(root)).load(CPU)
    for heldout, seeds in ((False, range(5)), (True, [5])):
        labelled = dataset.labelled(heldout=heldout)
        assert labelled is not None
        images, labels = labelled
        expected = np.concatenate([batch(seed)[b"data"] for seed in seeds]).reshape(-1, 3, 32, 32)
        assert torch.allclose(images, torch.from_numpy(expected) * (2 / 255) - 1)
        assert labels.tolist() == [label for seed in seeds for label in batch(seed)[b"labels"]]


def test_images_are_torchvisions(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (root / "cifar-10-batches-py").is_dir():
        pytest.skip("torchvision unpacks the archive")
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda _: True)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_load_meta", lambda _: None)
    for train, split in ((True, "train"), (False, "test")):
        published = torchvision.datasets.CIFAR10(str(root), train=train)
        images = Cifar10.model_validate({"root": str(root), "split": split}).samples()
        pixels = ((images + 1) * 255 / 2).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        assert np.array_equal(pixels, published.data)


def test_the_test_split_holds_out_the_training_images(root: Path) -> None:
    dataset = Cifar10(root=str(root), split="test").load(CPU)
    assert isinstance(dataset, FiniteDataset)
    assert dataset.others is not None
    assert (len(dataset.samples), len(dataset.others)) == (8, 40)


def test_a_distance_can_name_a_split(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setenv("WGAN_DATA", str(root))
    spec = find_split("cifar10:test")
    assert spec is not None
    assert spec.samples().shape == (8, 3, 32, 32)
    assert spec.samples().abs().max() <= 1


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch"])
def test_a_batch_with_another_checksum_is_refused_before_it_is_unpickled(root: Path, name: str) -> None:
    place = root / "the bomb went off"
    change(root, name, pickle.dumps(Bomb(place)))
    with pytest.raises(BadInputError, match=rf"{name}: wrong checksum, so it is truncated or changed"):
        Cifar10(root=str(root)).load(CPU)
    assert not place.exists()
    pickle.loads(pickle.dumps(Bomb(place)))
    assert place.exists()  # it would have


def test_a_truncated_batch_is_named(root: Path) -> None:
    change(root, "data_batch_2", pickled(1)[:-100])
    with pytest.raises(BadInputError, match="data_batch_2: wrong checksum"):
        Cifar10(root=str(root)).load(CPU)


def test_a_damaged_archive_is_named(root: Path) -> None:
    archive = root / "cifar-10-python.tar.gz"
    if not archive.is_file():
        pytest.skip("a folder")
    content = archive.read_bytes()
    for damaged in (content[: len(content) // 2], b"junk", b""):
        archive.write_bytes(damaged)
        with pytest.raises(
            BadInputError, match=r"cifar-10-python\.tar\.gz: damaged .*; delete it to download it again"
        ):
            Cifar10(root=str(root)).load(CPU)


def test_an_archive_that_lacks_a_batch_is_named(root: Path) -> None:
    archive = root / "cifar-10-python.tar.gz"
    if not archive.is_file():
        pytest.skip("a folder")
    for kind in (None, tarfile.DIRTYPE):
        with tarfile.open(archive, "w:gz") as opened:
            for seed, name in enumerate(NAMES):
                info, content = tarfile.TarInfo(f"cifar-10-batches-py/{name}"), pickled(seed)
                if name == "data_batch_4":
                    if kind is None:
                        continue
                    info.type, content = kind, b""
                info.size = len(content)
                opened.addfile(info, io.BytesIO(content))
        with pytest.raises(BadInputError, match="damaged"):
            Cifar10(root=str(root)).load(CPU)


def test_files_that_are_nowhere_are_told_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    folder = tmp_path / "nothing"
    with pytest.raises(BadInputError, match=r"nothing: CIFAR-10 is not here and could not be downloaded .*data\.root"):
        Cifar10(root=str(folder)).load(CPU)
    assert not folder.exists()


def test_the_checksums_are_torchvisions() -> None:
    published = dict(torchvision.datasets.CIFAR10.train_list + torchvision.datasets.CIFAR10.test_list)
    assert Cifar10.checksums == published
    assert Cifar10.archive_md5 == torchvision.datasets.CIFAR10.tgz_md5
