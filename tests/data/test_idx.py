import gzip
import hashlib
from pathlib import Path

import pytest
import torch

from tests.helpers import idx_file
from wgan_cli.data.idx import Checksum, read_idx
from wgan_cli.errors import BadInputError, ExitCode

IMAGES = torch.arange(2 * 3 * 4, dtype=torch.uint8).reshape(2, 3, 4)
CONTENT = idx_file(IMAGES)
ZIPPED = gzip.compress(CONTENT)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("values", [IMAGES, torch.arange(10, dtype=torch.uint8)])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_is_read_gzipped_or_not(tmp_path: Path, values: torch.Tensor, zipped: bool) -> None:
    content = idx_file(values)
    path = tmp_path / ("x-ubyte.gz" if zipped else "x-ubyte")
    path.write_bytes(gzip.compress(content) if zipped else content)
    read = read_idx(path, Checksum(md5(path.read_bytes()), md5(content)))
    assert read.dtype == torch.uint8
    assert torch.equal(read, values)


def test_content_without_a_published_checksum_is_read(tmp_path: Path) -> None:
    (tmp_path / "x-ubyte").write_bytes(CONTENT)
    assert torch.equal(read_idx(tmp_path / "x-ubyte", Checksum("not that of this file")), IMAGES)


DAMAGES = {
    "truncated": ZIPPED[: len(ZIPPED) // 2],
    "empty": b"",
    "no gzip": b"<html>not found</html>",
    "short inside": gzip.compress(CONTENT[:-1]),
    "no idx": gzip.compress(b"abcdefgh" * 100),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("checksum_fits", [False, True])
def test_a_damaged_file_is_named_and_kept(tmp_path: Path, damage: str, checksum_fits: bool) -> None:
    path = tmp_path / "x-ubyte.gz"
    path.write_bytes(DAMAGES[damage])
    checksum = Checksum(md5(DAMAGES[damage] if checksum_fits else ZIPPED))
    message = "not a whole" if checksum_fits else "wrong checksum"
    with pytest.raises(BadInputError, match=rf"x-ubyte\.gz: {message}.*delete it") as caught:
        read_idx(path, checksum)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert path.read_bytes() == DAMAGES[damage]


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"x-ubyte: can't be read \(No such file"):
        read_idx(tmp_path / "x-ubyte", Checksum(""))


@pytest.mark.parametrize("content", [CONTENT[:3], CONTENT[:2], b"abcd" + CONTENT[4:]])
def test_a_file_that_is_no_idx_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x-ubyte").write_bytes(content)
    with pytest.raises(BadInputError, match="not a whole idx file"):
        read_idx(tmp_path / "x-ubyte", Checksum(""))
