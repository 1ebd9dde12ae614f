"""environment.json: the versions, the device and the command line of a run."""

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from wgan_cli import __version__


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, device, threads, command line and git commit, in plain containers."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "wgan": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "platform": platform.platform(),
        "device": str(device),
        "device_name": name,
        "threads": torch.get_num_threads(),
        "command": sys.argv,
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """The commit of the source tree of this package; None for an installed wheel."""
    source = Path(__file__).parents[2]
    if not (source / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", source, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
