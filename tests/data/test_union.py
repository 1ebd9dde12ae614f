"""The union of all kinds of data, and the names of their splits."""

import pytest

from wgan_cli.data import KINDS, find_split, split_names
from wgan_cli.data.normal import Normal


@pytest.mark.parametrize("name", split_names())
def test_a_name_finds_its_kind_and_split(name: str) -> None:
    spec = find_split(name)
    assert spec is not None
    assert f"{spec.kind}:{spec.model_dump()['split']}" == name


def test_every_kind_with_splits_has_names() -> None:
    assert {"mnist:train", "mnist:test", "fashion_mnist:test", "kmnist:test"} <= set(split_names())
    assert len(split_names()) == sum(len(kind.splits) for kind in KINDS)


@pytest.mark.parametrize("name", ["mnist", "mnist:", "mnist:both", "MNIST:test", "normal", "normal:train", ":test", ""])
def test_other_names_find_nothing(name: str) -> None:
    assert find_split(name) is None


def test_a_kind_without_splits_has_no_set_of_samples() -> None:
    with pytest.raises(TypeError, match="normal has no splits"):
        Normal().samples()
