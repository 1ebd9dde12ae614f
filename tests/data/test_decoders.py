from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from wgan_cli.data.decoders import AsFloats, AsPixels, Unscaled
from wgan_cli.data.pixels import to_pixels
from wgan_cli.data.scaling import ScaleName, Scaling, statistics

TYPES = (
    "float16",
    "float32",
    "float64",
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)


def scaling_of(dtype: str, name: ScaleName, shape: Sequence[int]) -> Scaling:
    """That of 200 random arrays of two channels, the second one of whole numbers."""
    values = np.random.default_rng(0).normal(0, 20, (200, *shape))
    values[:, 1] = np.rint(values[:, 1])
    kept = (
        values.astype(bool) if dtype == "bool" else values.clip(0 if dtype.startswith("u") else -100, 100).astype(dtype)
    )
    return Scaling.fit(name, statistics([kept], "x"), np.dtype(dtype))


@pytest.mark.parametrize("shape", [(2,), (2, 5), (2, 3, 4), (2, 2, 3, 2)])
@pytest.mark.parametrize("name", ["standardise", "minmax", "none"])
@pytest.mark.parametrize("dtype", TYPES)
def test_unscaled_is_the_scalings_own(dtype: str, name: ScaleName, shape: tuple[int, ...]) -> None:
    scaling = scaling_of(dtype, name, shape)
    samples = 30 * torch.randn(50, *shape, generator=torch.Generator().manual_seed(1))  # beyond the limits of bytes
    expected: Any = scaling.unscaled(samples)
    found = Unscaled(scaling, shape)(samples).numpy()
    assert found.dtype == expected.dtype == np.dtype(dtype)
    assert np.array_equal(found, expected)
    last = Unscaled(scaling, shape, "last")(samples).numpy()
    assert np.array_equal(last, np.moveaxis(expected, 1, -1))
    one = Scaling(scaling.shift[:1], scaling.scale[:1], scaling.whole[:1], scaling.dtype)
    alone = Unscaled(one, (1, *shape[1:]), "none")(samples[:, :1]).numpy()
    assert np.array_equal(alone, one.unscaled(samples[:, :1])[:, 0])


@pytest.mark.parametrize("dtype", ["int64", "uint8", "int32"])
def test_whole_numbers_stop_at_the_limits_of_their_type(dtype: str) -> None:
    limits = np.iinfo(dtype)
    scaling = Scaling(np.zeros(1), np.ones(1), np.array([True]), dtype)
    far = torch.tensor([[-1e30], [1e30], [float(limits.max)], [float(limits.min)]], dtype=torch.float64)
    assert Unscaled(scaling, (1,))(far).flatten().tolist() == [limits.min, limits.max, limits.max, limits.min]


def test_a_type_that_torch_lacks_becomes_float64() -> None:
    scaling = Scaling(np.ones(1), np.ones(1), np.array([False]), "longdouble")
    assert Unscaled(scaling, (1,))(torch.zeros(1, 1)).dtype == torch.float64


def test_images_are_pixels_and_other_samples_floats() -> None:
    images = torch.linspace(-1.2, 1.2, 2 * 3 * 5 * 4).reshape(2, 3, 5, 4)
    assert np.array_equal(AsPixels()(images).numpy(), to_pixels(images))
    assert AsFloats()(images.double()).dtype == torch.float32
