"""Which device a command computes on."""

import torch

from wgan_cli.errors import BadInputError


def pick_device(name: str) -> torch.device:
    """The device called `name`; `auto` is the first of CUDA, Apple's MPS and the CPU that is there.

    Raises `BadInputError` for a device that this machine or this build of torch has not.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise BadInputError(f"--device {name}: not available here (wgan computes on cpu, cuda or mps); use auto")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts, one without MPS raises
        reason = str(error).partition("\n")[0].rstrip(". ")[:120]
        raise BadInputError(f"--device {name}: not available here ({reason}); use auto or cpu") from error
    return device
