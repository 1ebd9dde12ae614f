"""What the README shows works as it is written there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import metrics
from wgan_cli.config.load import load_config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    """The one code block of this language that contains the text."""
    (found,) = (text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in text)
    return found


def test_the_config_is_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "shown.yaml").write_text(block("yaml", "kind: mnist"))
    assert load_config(str(tmp_path / "shown.yaml")) == load_config("mnist_gp")


def test_the_example_of_a_new_dataset_trains_in_one_file(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "wgan_cli", tmp_path / "wgan_cli", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "wgan_cli" / "data" / "disc.py").write_text(block("python", "class Disc"))
    union = tmp_path / "wgan_cli" / "data" / "__init__.py"
    text = union.read_text().replace(
        "Data = Annotated[", "from wgan_cli.data.disc import Disc\n\nData = Annotated[Disc | "
    )
    union.write_text(text)
    code = (
        "import wgan_cli as wgan\n"
        "from wgan_cli.evaluation.figures import evaluate\n"
        "changes = ['data={kind: disc}', 'training.iterations=20', 'output.log_every=10']\n"
        "run = wgan.load_run(wgan.train(wgan.load_config('normal_gp', changes), 'run', device='cpu'), device='cpu')\n"
        "print(tuple(run.sample(range(10)).shape), evaluate(run, 50, 0)['truth/w1'] > 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "(10, 2) True\n", done.stderr
    assert metrics(tmp_path / "run")[-1]["step"] == 20


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(block("python", "import wgan_cli as wgan").replace("iterations=500", "iterations=5"), {})
    _, distance, truth = map(float, capsys.readouterr().out.split())
    assert distance == pytest.approx(3, abs=1e-5)
    assert 0 < truth < 4
