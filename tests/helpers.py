"""Functions that the tests of several rooms share. They need no pytest: `rank_worker` runs in processes of its own."""

import gzip
import hashlib
import json
import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from wgan_cli import cli
from wgan_cli.data.base import Batches
from wgan_cli.data.idx import Checksum
from wgan_cli.data.mnist import Mnist
from wgan_cli.training.signals import Signals

TINY_MNIST = (
    "--set=generator={kind: conv, channels: [8, 4, 2]}",
    "--set=critic={kind: conv, channels: [4, 8]}",
    "--set=training.batch_size=16",
    "--set=training.n_critic=2",
)
"""What makes the shipped conv configs train on the made-up images in no time."""


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def has_logged(run: Path) -> bool:
    return (run / "metrics.jsonl").is_file() and (run / "metrics.jsonl").stat().st_size > 0


def metrics(run: Path) -> list[dict]:
    """The logged lines of a run, in order."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def next_batch(batches: Batches) -> torch.Tensor:
    """Draws one batch and returns it."""
    batches.draw(1)
    return batches.take(0)


def idx_file(values: torch.Tensor) -> bytes:
    """A tensor of bytes in LeCun's idx format."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return b"\x00\x00\x08" + bytes([values.dim()]) + sizes + values.numpy().tobytes()


def write_made_up_mnist(root: Path) -> Path:
    """Writes 96 training and 32 test images below `root`, in MNIST's layout: sample i is a square whose grey is its
    own, of class i % 10. The same bytes each time. Returns `root`."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, count, grey in (("train", 96, 100), ("t10k", 32, 200)):
        images = torch.zeros(count, 28, 28, dtype=torch.uint8)
        for i in range(count):
            images[i, i % 20 : i % 20 + 8, (i * 7) % 20 : (i * 7) % 20 + 8] = grey + i
        labels = torch.arange(count, dtype=torch.uint8) % 10
        for name, values in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
            (raw / f"{name}.gz").write_bytes(gzip.compress(idx_file(values), mtime=0))
    return root


def made_up_checksums(root: Path) -> dict[str, Checksum]:
    """The checksums of the files that `write_made_up_mnist` wrote: put them in the place of `Mnist.checksums`, so that
    the files pass for MNIST."""
    files = {name: (root / "MNIST" / "raw" / f"{name}.gz").read_bytes() for name in Mnist.checksums}
    return {name: Checksum(_md5(zipped), _md5(gzip.decompress(zipped))) for name, zipped in files.items()}


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def exit_code(*arguments: str) -> int:
    """Runs `wgan` with these arguments in this process, whose signals are handled as before afterwards."""
    before = {number: signal.getsignal(number) for number in Signals.CAUGHT}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["wgan", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    for number, handler in before.items():
        signal.signal(number, handler)
    logging.getLogger("wgan").handlers.clear()  # which would write to a stderr that is closed by then
    return int(stop.value.code or 0)
