import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import wgan_cli
from wgan_cli.runs.environment import environment

CPU = torch.device("cpu")


def test_versions_device_and_command_are_plain_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["wgan", "train", "--config", "normal_gp"])
    found = environment(CPU)
    assert json.loads(json.dumps(found)) == found
    assert found["wgan"] == wgan_cli.__version__
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found["command"] == ["wgan", "train", "--config", "normal_gp"]
    assert found["device"] == "cpu"
    assert found["device_name"]


def test_the_commit_is_that_of_the_source_tree() -> None:
    source = Path(wgan_cli.__file__).parents[1]
    done = subprocess.run(["git", "-C", source, "rev-parse", "HEAD"], capture_output=True, text=True)
    commit = done.stdout.strip() if (source / ".git").exists() else None  # an installed wheel has none
    assert environment(CPU)["git_commit"] == commit


def test_a_machine_without_git_has_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert environment(CPU)["git_commit"] is None
