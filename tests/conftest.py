"""What several rooms' tests need: the command line in-process, and MNIST, real or made up."""

import gzip
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from wgan_cli import cli

torch.set_num_threads(1)  # networks here are so small that a second thread costs more than it gives

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Wgan = Callable[..., Result]


@pytest.fixture
def wgan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Wgan:
    """`wgan("train", "--config", ...)` as the shell would run it, in an empty folder."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def call(*arguments: object) -> Result:
        monkeypatch.setattr("sys.argv", ["wgan", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capfd.readouterr()
        return Result(int(stop.value.code or 0), captured.out, captured.err)

    return call


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def has_logged(run: Path) -> bool:
    return (run / "metrics.jsonl").is_file() and (run / "metrics.jsonl").stat().st_size > 0


def idx_file(values: torch.Tensor) -> bytes:
    """A tensor of bytes in LeCun's idx format."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return b"\x00\x00\x08" + bytes([values.dim()]) + sizes + values.numpy().tobytes()


@pytest.fixture
def made_up_mnist(tmp_path: Path) -> Path:
    """A root folder with 96 training and 32 test images: sample i is a square whose grey is its own."""
    raw = tmp_path / "made_up" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, count, grey in (("train", 96, 100), ("t10k", 32, 200)):
        images = torch.zeros(count, 28, 28, dtype=torch.uint8)
        for i in range(count):
            images[i, i % 20 : i % 20 + 8, (i * 7) % 20 : (i * 7) % 20 + 8] = grey + i
        labels = torch.arange(count, dtype=torch.uint8) % 10
        (raw / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_file(images)))
        (raw / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_file(labels)))
    return raw.parents[1]


@pytest.fixture(scope="session")
def real_mnist() -> Path:
    """The root folder of the real MNIST: $WGAN_DATA, or the data folder beside the checkout."""
    root = Path(os.environ.get("WGAN_DATA", SHARED_DATA))
    if not (root / "MNIST" / "raw").is_dir():
        pytest.skip(f"no MNIST in {root}; name its folder by $WGAN_DATA")
    return root


TINY_MNIST = (
    "--set=data.checksums=false",
    "--set=generator.width=8",
    "--set=critic.width=4",
    "--set=training.batch_size=16",
    "--set=training.n_critic=2",
)
"""What makes the shipped conv configs run on the made-up images in no time."""
