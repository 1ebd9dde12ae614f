"""What several rooms' tests need: the command line in-process, and MNIST, real or made up."""

import importlib
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import pytest
import torch

from tests.helpers import exit_code, made_up_checksums, write_made_up_mnist
from wgan_cli.data.mnist import Mnist
from wgan_cli.measures import classifier

torch.set_num_threads(1)  # networks here are so small that a second thread costs more than it gives
os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "0")  # a third less to compile; `vectorised` switches it on

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, for this test alone."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda *_, **__: str(folder))
    return folder


@pytest.fixture(autouse=True)
def quick_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a few made-up samples need not be good, nor better than a guess."""
    monkeypatch.setattr(classifier, "LEAST_STEPS", 1)
    monkeypatch.setattr(classifier, "WIDTH", -math.inf)


Wgan = Callable[..., Result]


@pytest.fixture
def wgan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Wgan:
    """`wgan("train", "--config", ...)` as the shell would run it, in an empty folder."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(logging.getLogger("wgan"), "handlers", [])  # put back: a command's holds the test's own stderr

    def call(*arguments: object) -> Result:
        capfd.readouterr()
        code = exit_code(*map(str, arguments))
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def in_float64() -> Iterator[None]:
    """New tensors, and so networks and samples, are float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def vectorised() -> Iterator[None]:
    """The compiled engine's kernels are for vectors, as a user's are."""
    # Not by monkeypatch: what it sets in a config of torch's is gone afterwards, and the next compilation fails.
    with importlib.import_module("torch._inductor.config").patch({"cpp.vec_isa_ok": None}):
        yield


@pytest.fixture
def made_up_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root folder with 96 training and 32 test images, which pass for MNIST: sample i is a square whose grey is its
    own."""
    root = write_made_up_mnist(tmp_path / "made_up")
    monkeypatch.setattr(Mnist, "checksums", made_up_checksums(root))
    return root


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `data` has the files of the shipped examples, with 60 samples each."""
    folder = tmp_path_factory.mktemp("examples")
    script = Path(__file__).parents[1] / "scripts" / "make_examples.py"
    subprocess.run([sys.executable, script, folder / "data", "--samples", "60"], check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="session")
def real_mnist() -> Path:
    """The root folder of the real MNIST: $WGAN_DATA, or the data folder beside the checkout."""
    root = Path(os.environ.get("WGAN_DATA", SHARED_DATA))
    if not (root / "MNIST" / "raw").is_dir():
        pytest.skip(f"no MNIST in {root}; name its folder by $WGAN_DATA")
    return root
