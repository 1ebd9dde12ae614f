import dataclasses
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.evaluation.helpers import bars
from tests.helpers import TINY_MNIST
from wgan_cli.config.load import load_config
from wgan_cli.errors import BadInputError
from wgan_cli.evaluation import figures
from wgan_cli.evaluation.figures import closest, critic_figures, evaluate
from wgan_cli.evaluation.set_distances import entropic_divergence, exact_w1, set_distances, sliced_w1
from wgan_cli.lipschitz.bound import Bound
from wgan_cli.measures.classifier import Classifier
from wgan_cli.measures.fidelity import class_figures
from wgan_cli.measures.statistic import Statistic
from wgan_cli.networks import Latent, MlpCritic, MlpGenerator
from wgan_cli.runs.loaded import LoadedRun, load_run
from wgan_cli.training.loop import train_run
from wgan_cli.transport import checks

CPU = torch.device("cpu")
Distance = Callable[[torch.Tensor, torch.Tensor], Statistic]


def test_sets_of_images_are_apart_by_their_shift() -> None:
    torch.manual_seed(0)
    images = torch.rand(40, 1, 8, 8)
    found = set_distances(images + 0.5, images, images + 0.25)
    assert found["truth/w1"] == pytest.approx(0.5 * 8, rel=1e-4)
    assert found["truth/w1_floor"] == pytest.approx(0.25 * 8, rel=1e-4)
    assert found["truth/sinkhorn_divergence"] == pytest.approx(0.5 * 8, rel=0.02)
    assert 0 < found["truth/sliced_w1"] < found["truth/w1"]


def test_sets_that_are_all_one_point_are_no_distance_apart() -> None:
    found = set_distances(*[torch.ones(6, 2)] * 3)
    assert found["truth/w1"] == found["truth/sinkhorn_divergence"] == 0


def test_sets_too_large_for_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "free_memory", lambda _: 1000)
    with pytest.raises(BadInputError, match=r"dual_potentials .* lower --num"):
        set_distances(*[torch.ones(50, 2)] * 3)


def one_normal(seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(150, 3, generator=torch.Generator().manual_seed(seed)) + shift


@pytest.mark.parametrize("distance", [partial(exact_w1, "w1"), sliced_w1, entropic_divergence])
def test_intervals_of_distances_are_as_wide_as_distances_of_new_samples_vary(distance: Distance) -> None:
    """Those of potentials take them as given, which is right to first order."""
    values = [next(iter(distance(one_normal(2 * i, 1.0), one_normal(2 * i + 1)).figures().values())) for i in range(60)]
    spread = torch.tensor(values).std().item()
    widths = []
    for i in range(5):
        found = list(distance(one_normal(2 * i, 1.0), one_normal(2 * i + 1)).with_intervals().values())
        widths.append((found[2] - found[1]) / (2 * 1.96))
    assert sum(widths) / 5 == pytest.approx(spread, rel=0.25)


def test_the_critic_is_measured_on_both_splits() -> None:
    generator, critic = (
        MlpGenerator(hidden=()).build(Latent(dim=4), (1,), bounded=False),
        MlpCritic(hidden=()).build((1,)),
    )
    with torch.no_grad():
        critic[1].weight.fill_(2.0)
        for parameter in generator.parameters():
            parameter.zero_()
    config = load_config("normal_gp", ["data.mean=3.0", "latent.dim=4"])
    loaded = LoadedRun(generator, critic, config, 0, CPU, {})
    found = critic_figures(loaded, torch.Generator().manual_seed(0), 0, 5000)
    for split in ("train", "heldout"):
        assert found[f"critic/gap_{split}"] == pytest.approx(6, abs=0.2)  # the slope is 2 and the shift 3
        assert found[f"critic/lipschitz_{split}"] == pytest.approx(2)
        assert found[f"critic/w1_{split}"] == pytest.approx(3, abs=0.1)


class BarHeights(nn.Module):
    """The mean brightness at each of the ten heights: a classifier of bars that needs no training."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = images.mean((1, 3))[:, 3:23]
        return rows.reshape(len(images), 10, 2).mean(2)


def test_classes_are_counted_and_features_compared() -> None:
    classifier = Classifier("bars-cnn", BarHeights(), nn.Identity(), accuracy=1.0)
    images, labels = bars(200)
    real, other = bars(300)[0], bars(400)[0]
    fair = class_figures(classifier, images, real, other)
    assert fair["accuracy/bars-cnn"] == 1
    assert [fair[f"class_share/{label}"] for label in range(10)] == pytest.approx([0.1] * 10)
    assert fair["class_share/least"] == fair["class_share/greatest"] == pytest.approx(0.1)
    named = class_figures(classifier, images, real, other, [f"bar {label}" for label in range(10)])
    assert [named[f"class_share/bar {i}"] for i in range(10)] == [fair[f"class_share/{i}"] for i in range(10)]
    taken = class_figures(classifier, images, real, other, ["least", *(f"bar {i}_floor" for i in range(9))])
    assert taken == fair  # by numbers, as other figures have such names
    one_class = class_figures(classifier, images[labels == 3], real, other)
    assert one_class["class_share/3"] == one_class["class_share/greatest"] == 1
    assert one_class["class_share/least"] == 0
    assert one_class["frechet/bars-cnn"] > 10 * one_class["frechet/bars-cnn_floor"]


def test_a_normal_is_measured_against_its_own_law(tmp_path: Path) -> None:
    config = load_config("normal_gp", ["training.iterations=5"])
    loaded = load_run(str(train_run(config, CPU, out=tmp_path / "run", name="x")), CPU)
    figures = evaluate(loaded, 500, seed=0)
    assert figures["step"] == 5
    assert figures["samples"] == 500
    for name in ("w1", "w2", "gaussian_w2"):
        assert 0 < figures[f"truth/{name}_floor"] < figures[f"truth/{name}"]
    assert 0 <= figures["critic/w1_low"] < figures["truth/w1_high"]
    samples = loaded.sample(range(500))
    assert figures["samples/mean"] == pytest.approx(samples.mean().item())
    assert evaluate(loaded, 500, seed=0) == figures
    assert evaluate(loaded, 500, seed=7) != figures


def test_no_sample_that_judges_a_bound_is_an_anchor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endless draws of one seed begin with the same samples."""
    config = load_config("normal_gp", ["training.iterations=1"])
    loaded = load_run(str(train_run(config, CPU, out=tmp_path / "run", name="x")), CPU)
    sets: list[torch.Tensor] = []

    def remember(_: object, chosen: list[torch.Tensor], judged: list[torch.Tensor], **how: bool) -> Bound:
        sets.extend([torch.cat(chosen), torch.cat(judged)])
        return Bound(0, 0, 0, 0, 0)

    monkeypatch.setattr(figures, "proved", remember)
    evaluate(loaded, 200, seed=0)
    anchors, judged = (set(values.flatten().tolist()) for values in sets)
    assert (len(anchors), len(judged)) == (400, 600)
    assert not anchors & judged


def test_a_long_evaluation_says_how_far_it_is_if_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wgan")
    monkeypatch.setattr("wgan_cli.bars.EVERY", 0.0)
    config = load_config("normal_gp", ["training.iterations=1"])
    loaded = load_run(str(train_run(config, CPU, out=tmp_path / "run", name="x")), CPU)
    caplog.clear()
    silent = evaluate(loaded, 100, seed=0)
    assert caplog.messages == []
    assert evaluate(loaded, 100, seed=0, shows_progress=True) == silent
    assert [message.partition(",")[0] for message in caplog.messages] == [f"evaluation: {i} of 7" for i in range(1, 7)]


def test_images_are_measured_against_held_out_ones(tmp_path: Path, made_up_mnist: Path) -> None:
    tiny = [option.removeprefix("--set=") for option in TINY_MNIST]
    config = load_config("mnist_gp", [*tiny, f"data.root={made_up_mnist}", "training.iterations=2"])
    figures = evaluate(load_run(str(train_run(config, CPU, out=tmp_path / "run", name="x")), CPU), 2000, seed=0)
    assert figures["samples"] == 16  # half of the 32 held-out images
    for name in ("truth/w1", "truth/sliced_w1", "truth/sinkhorn_divergence", "frechet/mnist-cnn"):
        assert figures[name] > figures[f"{name}_floor"]
    assert {"critic/gap_train", "critic/gap_heldout", "class_share/least"} <= figures.keys()
    assert figures["fidelity/precision"] < figures["fidelity/precision_floor"]  # two iterations give only noise
    assert figures["memorisation/copies"] == 0
    assert figures["memorisation/nearest"] > figures["memorisation/nearest_floor"]


@pytest.mark.parametrize("heldout", [2, 3])
def test_sets_of_one_sample_are_refused(tmp_path: Path, heldout: int) -> None:
    """They have no spread: figures would be NaN."""
    np.save(tmp_path / "x.npy", np.arange(10.0)[:, None])
    np.save(tmp_path / "other.npy", np.arange(heldout * 1.0)[:, None])
    data = f"data={{kind: arrays, path: {tmp_path / 'x.npy'}, heldout: {tmp_path / 'other.npy'}}}"
    config = load_config("normal_gp", [data, "training.iterations=1", "training.batch_size=4"])
    loaded = load_run(str(train_run(config, CPU, out=tmp_path / "run", name="x")), CPU)
    with pytest.raises(BadInputError, match=f"at least 4 held-out samples .* the data has {heldout};"):
        evaluate(loaded, 100, seed=0)


def test_a_generator_that_copies_is_seen_and_shown(tmp_path: Path) -> None:
    """Its samples are training samples: nearer to them than held-out ones are."""
    table = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", table)
    data = f"data={{kind: arrays, path: {tmp_path / 'x.npy'}, scale: none, heldout: 0.5}}"
    config = load_config("normal_gp", [data, "training.iterations=1", "latent.dim=3", "training.batch_size=64"])
    loaded = load_run(str(train_run(config, CPU, out=tmp_path / "run", name="x")), CPU)
    training = torch.cat(list(config.load_data(CPU).training_parts()))

    class Copies(nn.Module):
        def forward(self, latents: torch.Tensor) -> torch.Tensor:
            return training[: len(latents)] + 1e-4 * latents

    copying = dataclasses.replace(loaded, generator=Copies())
    found = evaluate(copying, 100, seed=0)
    assert found["memorisation/copies"] == 1
    assert found["fidelity/precision"] == pytest.approx(found["fidelity/precision_floor"], abs=0.2)
    assert evaluate(loaded, 100, seed=0)["memorisation/copies"] < 1
    shown = closest(copying, 100, seed=0)
    assert shown.real is not None
    assert len(shown.real) == len(shown.samples) == 32
    torch.testing.assert_close(shown.samples, shown.real, atol=1e-3, rtol=0)


def test_nothing_is_copied_from_a_source_without_end(tmp_path: Path) -> None:
    config = load_config("normal_gp", ["training.iterations=1"])
    loaded = load_run(str(train_run(config, CPU, out=tmp_path / "run", name="x")), CPU)
    assert not {"memorisation/copies"} & evaluate(loaded, 100, seed=0).keys()
    with pytest.raises(BadInputError, match="--nearest: normal draws new samples without end"):
        closest(loaded, 100, seed=0)
