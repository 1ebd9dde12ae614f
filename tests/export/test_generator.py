from pathlib import Path

import numpy as np
import pytest
import torch

from tests.export.helpers import KINDS, NETWORKS, inputs_of, untrained
from wgan_cli.errors import WganError
from wgan_cli.export.facts import facts, public
from wgan_cli.export.generator import exported


@pytest.mark.parametrize("case", [*KINDS, *NETWORKS])
def test_samples_are_those_of_wgan_sample(case: str, root: Path) -> None:
    loaded = untrained(root, case)
    module, example = exported(loaded)
    inputs = inputs_of(loaded, 9)
    assert list(example) == list(inputs)
    expected = loaded.decode(loaded.sample(range(9)))
    with torch.no_grad():
        found = module(*inputs.values()).numpy()
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


def test_given_values_come_back_exactly(root: Path) -> None:
    loaded = untrained(root, "a table with given columns")
    encoding = facts(loaded, "averaged")["condition"]
    assert encoding["names"] == ["n", "x"]
    asked = np.array([[7.0, 0.123456789012345], [0.0, -0.5]])
    condition = (asked - encoding["shift"]) / encoding["scale"]  # as its `rule` says
    module, _ = exported(loaded)
    with torch.no_grad():
        samples = module(loaded.config.latent.from_seeds([0, 1]), torch.from_numpy(condition)).numpy()
    assert samples[:, [1, 0]] == pytest.approx(asked, abs=1e-15)  # columns of the file: x, n, y


def test_a_class_is_asked_for_by_its_number(root: Path) -> None:
    loaded = untrained(root, "images by class")
    encoding = facts(loaded, "last")["condition"]
    assert encoding["names"] == ["blue", "green", "red"]
    conditions = loaded.conditions
    assert conditions is not None
    module, _ = exported(loaded)
    asked = torch.eye(encoding["width"])[[2, 2]]
    latents = loaded.config.latent.from_seeds([4, 5])
    with torch.no_grad():
        found = module(latents, asked).numpy()
    assert np.array_equal(found, loaded.decode(loaded.sample([4, 5], conditions.encode(torch.tensor([2, 2])))))


@pytest.mark.parametrize("case", KINDS)
def test_facts_tell_the_shapes_and_types(case: str, root: Path) -> None:
    loaded = untrained(root, case)
    found = facts(loaded, "last")
    samples = loaded.decode(loaded.sample(range(5)))
    assert found["samples"]["shape"] == ["N", *samples.shape[1:]]
    assert found["samples"]["type"] == samples.dtype.name
    assert found["latents"]["shape"] == ["N", 3]
    assert ("condition" in found) == (loaded.conditions is not None)


def test_a_public_config_names_no_folder_of_the_user(root: Path) -> None:
    for case in ("a table", "images", "mnist"):
        config = untrained(root, case).config
        assert str(root) in config.to_yaml()
        assert str(root.parent) not in public(config).to_yaml()
        assert public(config).differences(config) == []


def test_a_diverged_run_is_not_exported(root: Path) -> None:
    loaded = untrained(root, "normal")
    with torch.no_grad():
        next(loaded.generator.parameters()).fill_(float("nan"))
    with pytest.raises(WganError, match="not finite"):
        exported(loaded)
