"""What a shell offers to complete, as the shell asks for it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Wgan
from tests.runs.helpers import make_run
from wgan_cli.commands.completion import METHODS
from wgan_cli.config import shipped
from wgan_cli.evaluation import distances

Completed = Callable[..., list[str]]


@pytest.fixture
def completed(wgan: Wgan, monkeypatch: pytest.MonkeyPatch) -> Completed:
    """`completed("sample", "ru")`: what bash offers for the last word of the line."""

    def ask(*words: str) -> list[str]:
        monkeypatch.setenv("_WGAN_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", " ".join(["wgan", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        result = wgan()
        assert (result.code, result.err) == (0, "")
        return result.out.split()

    return ask


@pytest.mark.parametrize("before", [("train",), ("train", "--config"), ("configs",)])
def test_names_of_configs_are_completed(completed: Completed, before: tuple[str, ...]) -> None:
    assert completed(*before, "") == shipped.names()
    assert completed(*before, "mnist_mlp_") == ["mnist_mlp_gp"]
    assert completed(*before, "nothing") == []


def test_yaml_files_are_completed_where_a_config_is_wanted(completed: Completed) -> None:
    Path("below").mkdir()
    for name in ("mine.yaml", "below/a.yaml", "below/b.yml", "below/c.txt"):
        Path(name).touch()
    assert completed("train", "mi") == ["mine.yaml"]
    assert completed("train", "--config", "below/") == ["below/a.yaml", "below/b.yml"]
    assert completed("configs", "mi") == []


def test_runs_and_their_checkpoints_are_completed(completed: Completed) -> None:
    for name in ("runs/one", "runs/two", "other/deep/three"):
        make_run(Path(name), 10, 40)
    Path("runs/no run").mkdir()
    assert completed("sample", "") == ["runs/one", "runs/two", "other/deep/three"]
    assert completed("evaluate", "--ckpt", "runs/t") == ["runs/two"]
    assert completed("plot", "runs/one", "o") == ["other/deep/three"]
    files = [f"runs/one/checkpoints/{step:09d}.pt" for step in (40, 10)]
    for file in files:
        Path(file).touch()
    assert completed("sample", "runs/one") == ["runs/one"]
    assert completed("sample", "runs/one/") == files
    assert completed("sample", "--ckpt", "runs/one/checkpoints/00000001") == files[1:]


def test_a_home_folder_stays_as_it_was_typed(
    completed: Completed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    make_run(tmp_path / "runs" / "one", 10)
    (tmp_path / "runs" / "one" / "checkpoints" / "000000010.pt").touch()
    assert completed("sample", "~/runs/o") == ["~/runs/one"]
    assert completed("sample", "~/runs/one/c") == ["~/runs/one/checkpoints/000000010.pt"]


def test_methods_and_devices_are_completed(completed: Completed) -> None:
    assert completed("distance", "a", "b", "--method", "") == list(METHODS) == list(distances.METHODS)
    assert completed("distance", "a", "b", "--method", "s") == ["sinkhorn", "sliced"]
    assert completed("train", "mnist_gp", "--device", "c") == ["cpu", "cuda"]


def test_completion_does_not_import_torch() -> None:
    code = (
        "import sys\nfrom wgan_cli.commands import completion as c\n"
        "c.config_names(''), c.runs_or_checkpoints(''), c.run_folders(''), c.methods(''), c.devices('')\n"
        "from wgan_cli import cli\nprint('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.stdout == "False False\n", done.stderr
