"""Apple's MPS has no float64. Everything that judges samples runs here on tensors that refuse it, as theirs do."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from wgan_cli.conditions import GivenColumns
from wgan_cli.data import Normal
from wgan_cli.evaluation.bins import bin_distances
from wgan_cli.evaluation.figures import asked_class_share
from wgan_cli.evaluation.set_distances import set_distances
from wgan_cli.measures.fidelity import frechet, overlap
from wgan_cli.measures.memorisation import Nearest, memorisation
from wgan_cli.measures.modes import normal_modes
from wgan_cli.transport import exact_plan, exact_wasserstein

CPU = torch.device("cpu")


class Single(Tensor):
    """A tensor on a device without float64: `cpu()` takes it from there."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_function__(func, types, args, kwargs or {})
        if func is Tensor.cpu:
            return result.as_subclass(Tensor)
        if isinstance(result, cls) and result.dtype == torch.float64:
            raise RuntimeError("can't convert to float64 here")
        return result


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def columns() -> GivenColumns:
    zeros = torch.zeros(1, dtype=torch.float64)
    return GivenColumns(("c",), draw(2, 9, 1), zeros, zeros + 1, [[-3.0, 3.0]])


X, Y, Z = draw(0, 30, 3), draw(1, 30, 3), draw(2, 30, 3)
JUDGES: dict[str, Callable[[Tensor, Tensor, Tensor], Any]] = {
    "exact": lambda x, y, z: exact_wasserstein(x, y),
    "plan": lambda x, y, z: exact_plan(x, y),
    "sets": set_distances,
    "frechet": lambda x, y, z: frechet(x, y),
    "overlap": lambda x, y, z: overlap(x, y).with_intervals(),
    "copies": lambda x, y, z: memorisation(Nearest.among([z], x), Nearest.among([z], y)).with_intervals(),
    "modes": lambda x, y, z: normal_modes(x, y, 0.1),
    "classes": lambda x, y, z: asked_class_share(lambda samples: samples.argmax(1), x, y, z),
    "bins": lambda x, y, z: bin_distances(columns(), x, y, z, torch.cat([x, y])[:, :1]),
    "normal": lambda x, y, z: Normal().load(CPU).exact_distances(x),
}


@pytest.mark.parametrize("name", JUDGES)
def test_samples_are_judged_on_a_device_without_float64(name: str) -> None:
    found = JUDGES[name](*(samples.as_subclass(Single) for samples in (X, Y, Z)))
    expected = JUDGES[name](X, Y, Z)
    if isinstance(found, Tensor):
        found, expected = found.tolist(), expected.tolist()
    assert found == expected


def test_such_a_tensor_refuses_float64() -> None:
    for convert in (Tensor.double, lambda x: x.to("cpu", torch.float64), lambda x: x + torch.ones(1).double()):
        with pytest.raises(RuntimeError, match="float64"):
            convert(X.as_subclass(Single))
