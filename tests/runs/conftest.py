from pathlib import Path

import pytest
import torch

from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.runs.folder import RunFolder, claimed


@pytest.fixture
def config() -> RunConfig:
    return load_config("normal_gp")


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """An empty folder for a run."""
    path = tmp_path / "run"
    path.mkdir()
    return path


@pytest.fixture
def run(tmp_path: Path, config: RunConfig) -> Path:
    """A run's folder with the checkpoints of steps 1 and 2."""
    path = tmp_path / "run"
    with claimed(path, "x") as folder, RunFolder(folder, config, 0, torch.device("cpu")) as opened:
        for step in (1, 2):
            opened.checkpoint({"weights": torch.full((3,), float(step))}, step)
    return path
