import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.conftest import NOBODY_LISTENS, Mirror
from wgan_cli.data.download import fetch_files

FILES = {"a.gz": b"first", "b.gz": b"second"}
MD5 = {name: hashlib.md5(content).hexdigest() for name, content in FILES.items()}


def missing(folder: Path) -> Callable[[], list[str]]:
    return lambda: [name for name in FILES if not (folder / name).exists()]


@pytest.fixture(autouse=True)
def _published(mirror: Mirror) -> None:
    for name, content in FILES.items():
        (mirror.folder / name).write_bytes(content)


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_missing_files_are_downloaded_once(mirror: Mirror, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "raw"
    fetch_files(folder, missing(folder), [mirror.address], MD5)
    assert held(folder) == FILES
    assert set(mirror.requests) == {"a.gz", "b.gz"}
    mirror.requests.clear()
    fetch_files(folder, missing(folder), [mirror.address], MD5)
    assert mirror.requests == []


def test_files_that_are_there_stay_as_they_are(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.gz").write_bytes(b"mine")
    fetch_files(tmp_path / "raw", missing(tmp_path / "raw"), [mirror.address], MD5)
    assert held(tmp_path / "raw") == {**FILES, "a.gz": b"mine"}


def test_the_next_mirror_is_tried(mirror: Mirror, tmp_path: Path) -> None:
    fetch_files(tmp_path / "raw", missing(tmp_path / "raw"), [NOBODY_LISTENS, mirror.address], MD5)
    assert held(tmp_path / "raw") == FILES


def test_other_bytes_never_get_the_name(mirror: Mirror, tmp_path: Path) -> None:
    (mirror.folder / "b.gz").write_bytes(b"changed")
    with pytest.raises(OSError, match=mirror.address):
        fetch_files(tmp_path / "raw", missing(tmp_path / "raw"), [mirror.address], MD5)
    assert held(tmp_path / "raw") == {"a.gz": b"first"}


def test_processes_wait_for_each_other(mirror: Mirror, tmp_path: Path) -> None:
    folder, alone = tmp_path / "raw", tmp_path / "alone"
    fetch_files(alone, missing(alone), [mirror.address], MD5)
    needed = sorted(mirror.requests)
    mirror.requests.clear()
    threads = [
        threading.Thread(target=fetch_files, args=(folder, missing(folder), [mirror.address], MD5)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held(folder) == FILES
    assert sorted(mirror.requests) == needed


def test_a_failed_download_removes_the_folders_it_made(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for folder in (tmp_path / "mine" / "raw", tmp_path / "new" / "deep" / "raw"):
        with pytest.raises(OSError, match="127"):
            fetch_files(folder, missing(folder), [NOBODY_LISTENS], MD5)
    assert sorted(os.listdir(tmp_path)) == ["mine", "mirror"]
    assert os.listdir(tmp_path / "mine") == []
