from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from wgan_cli.data.scaling import ScaleName, Scaling, Statistics, check_finite, statistics
from wgan_cli.errors import BadInputError

NAMES: list[ScaleName] = ["standardise", "minmax", "none"]
SHAPES = [(50, 3), (50, 2, 7), (50, 3, 4, 5), (50, 1, 3, 2, 4)]


def drawn(shape: tuple[int, ...], seed: int = 0) -> Any:
    """Numbers of which each channel has a mean and a spread of its own."""
    rng = np.random.default_rng(seed)
    channels = np.arange(1, shape[1] + 1).reshape(1, -1, *[1] * (len(shape) - 2))
    return rng.normal(size=shape) * channels + 10.0**channels


def fitted(values: Any, name: ScaleName) -> Scaling:
    return Scaling.fit(name, statistics([values], "x.npy"), values.dtype)


def there_and_back(values: Any, name: ScaleName) -> Any:
    scaling = fitted(values, name)
    return scaling.unscaled(scaling.scaled(values))


@pytest.mark.parametrize("shape", SHAPES)
def test_statistics_are_numpys_by_channel(shape: tuple[int, ...]) -> None:
    values = drawn(shape)
    found = statistics([values], "x.npy")
    others = tuple(axis for axis in range(len(shape)) if axis != 1)
    assert found.count == 50
    assert found.mean == pytest.approx(values.mean(others), rel=1e-12)
    assert found.std == pytest.approx(values.std(others), rel=1e-12)
    assert found.least.tolist() == values.min(others).tolist()
    assert found.greatest.tolist() == values.max(others).tolist()
    assert not found.whole.any()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 1000))
def test_statistics_of_chunks_are_those_of_the_whole(sizes: list[int], seed: int) -> None:
    values = drawn((sum(sizes), 2, 3), seed)
    whole, parts = (statistics(chunks, "x") for chunks in ([values], np.split(values, np.cumsum(sizes)[:-1])))
    assert parts.mean == pytest.approx(whole.mean, rel=1e-12)
    assert parts.std == pytest.approx(whole.std, rel=1e-9)
    for name in ("count", "least", "greatest", "whole"):
        assert np.array_equal(getattr(parts, name), getattr(whole, name))


def test_a_small_spread_around_a_large_mean_is_found() -> None:
    values = 1e8 + np.random.default_rng(0).normal(size=(1000, 1)) * 1e-3
    chunks = np.split(values, 10)
    assert statistics(chunks, "x").std[0] == pytest.approx(values.std(), rel=1e-4)


def test_whole_columns_are_told_from_others() -> None:
    found = statistics([np.array([[1, 1.0, -3e20], [2, 1.5, 7]]), np.array([[3, 2.0, 0]])], "x")
    assert found.whole.tolist() == [True, False, True]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named_by_row_and_column(bad: float) -> None:
    values = np.zeros((4, 4, 3), np.float32)
    check_finite(values, 0, "y.npy")
    values[1, 2, 0] = bad
    message = r"^y\.npy: holds a value that is not finite, in row 8, column 3 \(from 1\)"
    with pytest.raises(BadInputError, match=message):
        check_finite(values, 6, "y.npy")


def test_values_without_a_finite_spread_are_refused() -> None:
    with pytest.raises(BadInputError, match=r"x: the values of column 2 \(from 1\) are too far apart"):
        statistics([np.array([[1.0, -1e300], [2.0, 1e300]])], "x")


@pytest.mark.parametrize("shape", SHAPES)
def test_standardised_channels_have_mean_0_and_spread_1(shape: tuple[int, ...]) -> None:
    values = drawn(shape)
    scaled = fitted(values, "standardise").scaled(values)
    channels = scaled.transpose(0, 1).flatten(1).double()
    assert scaled.shape == shape
    assert scaled.dtype == torch.float32
    assert channels.mean(1).tolist() == pytest.approx([0] * shape[1], abs=1e-6)
    assert channels.std(1, correction=0).tolist() == pytest.approx([1] * shape[1], rel=1e-6)


def test_minmax_reaches_from_minus_1_to_1_and_none_changes_nothing() -> None:
    values = drawn((50, 3))
    scaled = fitted(values, "minmax").scaled(values)
    assert scaled.amin(0).tolist() == pytest.approx([-1] * 3)
    assert scaled.amax(0).tolist() == pytest.approx([1] * 3)
    assert fitted(values, "none").scaled(values).tolist() == values.astype(np.float32).tolist()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4", ">f8"])
@pytest.mark.parametrize("shape", SHAPES[:3])
def test_real_numbers_come_back(name: ScaleName, dtype: Any, shape: tuple[int, ...]) -> None:
    values = drawn(shape).astype(dtype)
    back = there_and_back(values, name)
    assert back.dtype == np.dtype(dtype).newbyteorder("=")
    assert back == pytest.approx(values.astype(np.float64), rel=1e-3 if dtype == np.float16 else 1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int16, np.uint16, np.int32, np.int64, np.uint64])
def test_whole_numbers_come_back_exactly_in_their_type(name: ScaleName, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2 if dtype is bool else 120, (40, 3, 2)).astype(dtype)
    back = there_and_back(values, name)
    assert back.dtype == np.dtype(dtype)
    assert np.array_equal(back, values)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_of_whole_real_numbers_stay_whole_whatever_is_generated(dtype: Any) -> None:
    values = np.array([[3, 0.5], [9, 1.5], [-4, 2.5]], dtype)
    back = fitted(values, "standardise").unscaled(torch.randn(100, 2, generator=torch.Generator().manual_seed(0)))
    assert back.dtype == dtype
    assert np.array_equal(back[:, 0], np.rint(back[:, 0]))
    assert not np.array_equal(back[:, 1], np.rint(back[:, 1]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "constant",
    [np.float32(0.1), 1 / 3, 1e300, -7e-300, 0.0, np.int64(2**53), np.uint8(255), True, np.int64(-(2**63))],
    ids=str,
)
def test_a_constant_column_comes_back_exactly_whatever_is_generated(name: ScaleName, constant: Any) -> None:
    values = np.full((9, 1), constant)
    scaling = fitted(values, name)
    if name == "none":
        if abs(float(constant)) < 1e30:  # in float32
            assert there_and_back(values, name) == pytest.approx(values, rel=1e-6)
        return
    assert not scaling.scaled(values).any()
    back = scaling.unscaled(torch.tensor([[0.0], [0.3], [-5.0]]))
    assert back.dtype == values.dtype
    assert (back == constant).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint32, np.int64, np.uint64])
def test_generated_whole_numbers_stop_at_the_limits_of_their_type(dtype: Any) -> None:
    limits = np.iinfo(dtype)
    values = np.array([[limits.min], [limits.max]], dtype)
    back = fitted(values, "minmax").unscaled(torch.tensor([[-9.0], [-1.0], [1.0], [9.0]], dtype=torch.float64))
    assert back.ravel().tolist() == [limits.min, limits.min, limits.max, limits.max]


@pytest.mark.parametrize("name", NAMES)
def test_a_scaling_is_kept_in_plain_containers(name: ScaleName) -> None:
    values = drawn((20, 3, 2))
    values[:, 1] = 4.0
    scaling = fitted(values, name)
    kept = Scaling.from_state(scaling.state_dict())
    samples = torch.randn(8, 3, 2)
    assert np.array_equal(kept.unscaled(samples), scaling.unscaled(samples))
    assert torch.equal(kept.scaled(values), scaling.scaled(values))
    assert set(map(type, scaling.state_dict().values())) == {list, str}


@settings(max_examples=60, deadline=None)
@given(
    arrays_of.arrays(
        np.float64, st.tuples(st.integers(1, 8), st.integers(1, 3)), elements=st.floats(-1e6, 1e6, width=32)
    ),
    st.sampled_from(NAMES),
)
def test_any_table_comes_back_to_the_precision_of_float32(values: Any, name: ScaleName) -> None:
    back = there_and_back(values, name)
    spread = np.abs(values).max(0) if name == "none" else values.max(0) - values.min(0)
    assert (np.abs(back - values) <= 1e-6 * spread + 1e-12 * np.abs(values)).all()


def test_scaled_values_follow_torchs_default_type(in_float64: None) -> None:
    values = drawn((5, 2))
    scaled = fitted(values, "standardise").scaled(values)
    assert scaled.dtype == torch.float64
    assert fitted(values, "standardise").unscaled(scaled) == pytest.approx(values, rel=1e-14)


def test_one_sample_has_no_spread() -> None:
    found: Statistics = statistics([np.array([[2.0, 5.0]])], "x")
    assert found.std.tolist() == [0, 0]
    assert there_and_back(np.array([[2.0, 5.0]]), "standardise").tolist() == [[2, 5]]
