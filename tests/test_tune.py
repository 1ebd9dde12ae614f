"""The trials of recipes: each is a config that loads, and is judged as often as it should be."""

import importlib
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.test_scripts import SCRIPTS
from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig

sys.path.insert(0, str(SCRIPTS))  # `tune` imports `speedrun`, and that `bench`
tune = importlib.import_module("tune")
sys.path.remove(str(SCRIPTS))

TINY = (
    *("generator={kind: conv, channels: [4, 2, 1]}", "critic={kind: conv, channels: [2, 4]}"),
    *("training.batch_size=8", "training.n_critic=1", "training.average=0.9"),
)


@cache
def loaded(trial: str) -> RunConfig:
    return load_config("mnist_gp", tune.TRIALS[trial])


@pytest.mark.parametrize("name", tune.TRIALS)
def test_every_trial_is_a_config(name: str) -> None:
    config = loaded(name)
    assert config.training.average is not None
    others = [loaded(other) for other in tune.TRIALS if other != name]
    if name != "as shipped":  # what is shipped is what won, so it is another trial too
        assert sum(not config.differences(other) for other in others) <= 1


def test_a_trial_is_judged_through_its_run(made_up_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "seconds_an_iteration", lambda config: 0.5)
    judged: list[nn.Module] = []

    class Counting:
        """Judges by the number of generators that it has seen."""

        latent = load_config("mnist_gp").latent

        def __call__(self, generator: nn.Module) -> dict[str, float]:
            judged.append(generator)
            return {"frechet": float(len(judged))}

    changes = [*TINY, f"data.root={made_up_mnist}"]
    config = tune.lasting(8.0, "mnist_gp", changes)
    assert config.training.iterations == 16
    assert tune.lasting(None, "mnist_gp", changes) == load_config("mnist_gp", changes)
    rows, _ = tune.tried(config, [2, 4, 8, 16], Counting())
    assert [row["iteration"] for row in rows] == [2, 4, 8, 16]
    assert [(row["frechet, raw"], row["frechet, averaged"]) for row in rows] == [(1, 2), (3, 4), (5, 6), (7, 8)]
    assert judged[0] is judged[2] is not judged[1]


class _Real(nn.Module):
    """Gives held-out images in place of generated ones."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.images = images

    def forward(self, latents: Tensor) -> Tensor:
        return self.images[: len(latents)]


def test_both_judges_find_real_images_closest(made_up_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config("mnist_gp", [*TINY, f"data.root={made_up_mnist}"])
    dataset = config.load_data(tune.CPU)
    labelled = dataset.labelled(heldout=True)
    assert labelled is not None
    monkeypatch.setattr(sys.modules["speedrun"], "SAMPLES", len(labelled[0]))
    judges = tune.Judges(dataset, config)
    real, fake = judges(_Real(labelled[0])), judges(_Real(torch.rand_like(labelled[0]) * 2 - 1))
    assert real.keys() == fake.keys() == {"frechet", "second"}
    assert all(real[name] < 1e-3 < fake[name] for name in real)
