import os
import random
import zipfile
from pathlib import Path

import pytest

from tests.data.pictures import encoded, noise, write_folder, zipped
from wgan_cli.data import picture_files
from wgan_cli.data.picture_files import open_pictures
from wgan_cli.data.survey import survey
from wgan_cli.errors import BadInputError

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def names_of(path: Path) -> list[str]:
    with open_pictures(path) as pictures:
        return list(pictures.stamps)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "pictures", 6, ("b/deep/er", "a", ""))


@pytest.mark.parametrize("method", METHODS)
def test_a_zip_holds_what_its_folder_holds(folder: Path, tmp_path: Path, method: int) -> None:
    archive = zipped(folder, tmp_path / "x.zip", method)
    assert names_of(folder) == names_of(archive)
    assert names_of(folder) == [
        "002.png",
        "005.png",
        "a/001.png",
        "a/004.png",
        "b/deep/er/000.png",
        "b/deep/er/003.png",
    ]
    with open_pictures(folder) as one, open_pictures(archive) as other:
        for name in one.stamps:
            assert one.read(name) == other.read(name) == (folder / name).read_bytes()
            assert one.image(name).size == other.image(name).size == (8, 8)


def test_the_ending_of_a_zip_may_be_in_capitals(folder: Path, tmp_path: Path) -> None:
    archive = zipped(folder, tmp_path / "X.ZIP")
    assert names_of(archive) == names_of(folder)
    assert survey(archive).facts["samples"] == 6


def test_only_pictures_count(tmp_path: Path) -> None:
    wanted = ["1.PNG", "2.jpg", "3.JPeG", "4.webp", "5.bmp", "6.tif", "7.tiff"]
    others = ["notes.txt", "8.gif", "png", ".hidden.png", ".git/9.png", "__MACOSX/10.png", "x.png.part"]
    for name in (*wanted, *others):
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / name).write_bytes(b"")
    (tmp_path / "x" / "folder.png").mkdir()
    assert names_of(tmp_path / "x") == wanted
    assert names_of(zipped(tmp_path / "x", tmp_path / "x.zip")) == wanted


def test_a_stamp_changes_when_its_file_does(folder: Path, tmp_path: Path) -> None:
    with open_pictures(folder) as pictures:
        before = pictures.stamps
    os.utime(folder / "002.png", ns=(1, 1))
    (folder / "005.png").write_bytes(encoded(noise()))
    with open_pictures(folder) as pictures:
        after = pictures.stamps
    assert [name for name in before if before[name] != after[name]] == ["002.png", "005.png"]


def test_a_folder_is_walked_once_an_opening(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[Path] = []
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda path: walked.append(path) or walk(path))
    assert len(names_of(folder)) == 6
    assert walked == [folder]


def test_a_stamp_in_a_zip_is_of_the_content(folder: Path, tmp_path: Path) -> None:
    def stamps() -> dict[str, tuple[int, ...]]:
        with open_pictures(zipped(folder, tmp_path / "x.zip")) as pictures:
            return pictures.stamps

    before = stamps()
    os.utime(folder / "002.png", (1e9, 1e9))
    assert stamps() == before
    content = bytearray((folder / "005.png").read_bytes())
    content[-20] ^= 1
    (folder / "005.png").write_bytes(content)
    after = stamps()
    assert [name for name in before if before[name] != after[name]] == ["005.png"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.mkdir(), r"holds no pictures \(\.png, \.jpg"),
        (lambda path: (path / "deep").mkdir(parents=True), "holds no pictures"),
        (lambda path: path.write_bytes(b"PK"), "is no folder of pictures, nor a .zip of one"),
        (lambda path: None, "is no folder of pictures, nor a .zip of one"),
    ],
)
def test_other_things_are_refused(tmp_path: Path, make: object, message: str) -> None:
    path = tmp_path / "x.thing"
    make(path)  # type: ignore[operator]
    with pytest.raises(BadInputError, match=message) as caught:
        names_of(path)
    assert str(path) in str(caught.value)


def test_an_empty_zip_and_a_file_of_another_kind_are_refused(tmp_path: Path) -> None:
    zipfile.ZipFile(tmp_path / "x.zip", "w").close()
    with pytest.raises(BadInputError, match="holds no pictures"):
        names_of(tmp_path / "x.zip")
    for content in (b"", b"PK\x03\x04", b"not a zip" * 100):
        (tmp_path / "y.zip").write_bytes(content)
        with pytest.raises(BadInputError, match=r"y\.zip: truncated, damaged, or not a \.zip"):
            names_of(tmp_path / "y.zip")


@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/etc/evil.png", ".."])
def test_names_that_lead_out_of_a_zip_are_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("good.png", encoded(noise()))
        archive.writestr(name, encoded(noise()))
    with pytest.raises(BadInputError, match=r"which leads out of it; make a clean one") as caught:
        names_of(tmp_path / "x.zip")
    assert repr(name) in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["x.zip"]


def test_an_encrypted_picture_can_not_be_read(folder: Path, tmp_path: Path) -> None:
    archive = zipped(folder, tmp_path / "x.zip", zipfile.ZIP_STORED)
    content = bytearray(archive.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # sets the flag of encryption of every file
        at = content.find(signature)
        while at >= 0:
            content[at + place] |= 1
            at = content.find(signature, at + 1)
    archive.write_bytes(content)
    with open_pictures(archive) as pictures, pytest.raises(OSError, match="encrypted, password required"):
        pictures.read("a/001.png")


def test_a_file_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(100_000))
    monkeypatch.setattr(picture_files, "LARGEST_FILE", 99_999)
    with (
        open_pictures(tmp_path / "x.zip") as pictures,
        pytest.raises(OSError, match="unpacks to more than 99,999 bytes"),
    ):
        pictures.read("bomb.png")


@pytest.mark.parametrize("method", METHODS)
def test_flipped_bits_are_named_and_nothing_else_is_raised(folder: Path, tmp_path: Path, method: int) -> None:
    content = zipped(folder, tmp_path / "good.zip", method).read_bytes()
    random_bits, faults = random.Random(0), []
    path = tmp_path / "x.zip"
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(random_bits.choice([1, 1, 3])):
            damaged[random_bits.randrange(len(damaged))] = random_bits.randrange(256)
        path.write_bytes(damaged[: random_bits.choice([len(damaged)] * 4 + [random_bits.randrange(len(damaged))])])
        try:
            with open_pictures(path) as pictures:
                for name in pictures.stamps:
                    try:
                        pictures.read(name)
                    except OSError as error:
                        faults.append(str(error))
        except BadInputError as error:
            faults.append(str(error).removeprefix(f"{path}: "))
    assert len(faults) > 50
    assert all(fault and str(path) not in fault for fault in faults)
