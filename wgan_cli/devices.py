"""Which device a command computes on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from wgan_cli.errors import BadInputError


def pick_device(name: str, local_rank: int | None = None) -> torch.device:
    """The device called `name`; `auto` is the first of CUDA, Apple's MPS and the CPU that is there.

    `local_rank` is given where several ranks share this machine: each takes a GPU of its own.
    Raises `BadInputError` for a device that this machine or this build of torch has not.
    """
    if name == "auto":
        if torch.cuda.is_available():
            name = "cuda"
        else:
            return torch.device("mps" if torch.backends.mps.is_available() and local_rank is None else "cpu")
    if name == "cuda" and local_rank is not None:
        name = f"cuda:{local_rank % max(torch.cuda.device_count(), 1)}"  # 0 where Slurm shows each rank its own alone
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise BadInputError(f"--device {name}: not available here (wgan computes on cpu, cuda or mps); use auto")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts, one without MPS raises
        reason = str(error).partition("\n")[0].rstrip(". ")[:120]
        raise BadInputError(f"--device {name}: not available here ({reason}); use auto or cpu") from error
    return device


@contextmanager
def repeatable(wanted: bool) -> Iterator[None]:
    """While it lasts, torch uses only kernels that give the same bits each time, where `wanted`.

    To be entered before the first computation on a GPU, as cuBLAS reads its workspace's size then.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
