"""A config that is right, to be made wrong in one place; and the faults that are found then."""

import pytest

from wgan_cli.config.load import load_config
from wgan_cli.errors import BadInputError, ExitCode

GOOD = """\
seed: 3
data: {kind: normal}
latent: {dim: 4}
generator: {kind: mlp}
critic: {kind: mlp}
lipschitz: {kind: gp, weight: 10}
optimizer:
  generator: {kind: adam, lr: 1e-4, betas: [0, 0.9]}
  critic: {kind: rmsprop, lr: 5.0e-5}
training:
  iterations: 1_000
  batch_size: 64
"""


def faults(path: str, *overrides: str, ranks: int = 1) -> list[str]:
    """The lines of the error that the config in the file `path` ends in."""
    with pytest.raises(BadInputError) as caught:
        load_config(path, overrides, ranks)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    return str(caught.value).splitlines()


def check_fault(path: str, line: int | None, *parts: str) -> None:
    """One fault has all `parts`, and begins with the file's name and `line`; None is any line."""
    fault = next(fault for fault in faults(path) if parts[0] in fault)
    assert fault.startswith(f"{path}:{line}: " if line else path)
    assert all(part in fault for part in parts)
