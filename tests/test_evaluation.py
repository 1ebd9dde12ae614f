import json
from pathlib import Path

import pytest
import torch

from tests.conftest import TINY_MNIST, Wgan
from wgan_cli import evaluation
from wgan_cli.checkpoints import sealed
from wgan_cli.data import Mnist, Normal
from wgan_cli.models import MlpCritic

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, for this test alone."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(evaluation.platformdirs, "user_cache_dir", lambda *_, **__: str(folder))
    return folder


def test_a_normal_is_measured_against_its_own_law() -> None:
    dataset = Normal(mean=3.0, std=2.0).load(CPU)
    draws = torch.randn(100_000, 1, generator=torch.Generator().manual_seed(0))
    same = {name: value.item() for name, value in dataset.against_target(draws * 2 + 3).items()}
    assert all(value < 0.05 for value in same.values())
    wider = {name: value.item() for name, value in dataset.against_target(draws * 4 + 4).items()}
    assert wider["w2"] == pytest.approx((1 + 2**2) ** 0.5, rel=0.01)  # W2² = (shift)² + (difference of stds)²
    assert wider["gaussian_w2"] == pytest.approx((1 + 2**2) ** 0.5, rel=0.01)
    assert wider["w1"] < wider["w2"]


def test_clouds_of_images_are_apart_by_their_shift() -> None:
    torch.manual_seed(0)
    images = torch.rand(40, 1, 8, 8)
    found = evaluation.cloud_distances(images + 0.5, images)
    assert found["w1"] == pytest.approx(0.5 * 8, rel=1e-4)
    assert found["sinkhorn_divergence"] == pytest.approx(0.5 * 8, rel=0.02)
    assert 0 < found["sliced_w1"] < found["w1"]


def test_the_critic_is_told_on_both_splits() -> None:
    dataset = Normal(mean=3.0).load(CPU)
    critic = MlpCritic(hidden=()).build((1,))
    with torch.no_grad():
        critic[1].weight.fill_(2.0)
    found = evaluation.critic_figures(critic, torch.zeros(5000, 1), dataset, torch.Generator().manual_seed(0))
    for split in ("train", "heldout"):
        assert found[f"critic/gap_{split}"] == pytest.approx(6, abs=0.2)  # the slope is 2 and the shift 3
        assert found[f"critic/lipschitz_{split}"] == pytest.approx(2)
        assert found[f"critic/w1_{split}"] == pytest.approx(3, abs=0.1)


def bars(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images with a bar at one of ten heights, which is their class."""
    labels = torch.arange(count) % 10
    images = torch.full((count, 1, 28, 28), -1.0)
    for i, label in enumerate(labels.tolist()):
        images[i, 0, 2 * label + 3 : 2 * label + 5] = 1
    return images + 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(count)), labels


class Bars:
    """As much of a dataset as the classifier asks for."""

    def labelled(self, *, heldout: bool) -> tuple[torch.Tensor, torch.Tensor]:
        return bars(200 if heldout else 1000)


def test_the_classifier_learns_its_data_is_kept_and_knows_the_classes(cache: Path) -> None:
    classifier = evaluation.trained_classifier(Bars(), CPU)
    assert classifier is not None
    assert classifier.accuracy > 0.95
    (kept,) = cache.iterdir()
    before = kept.stat().st_mtime_ns
    again = evaluation.trained_classifier(Bars(), CPU)
    assert kept.stat().st_mtime_ns == before
    assert again is not None
    assert again.accuracy == classifier.accuracy

    images, labels = bars(200)
    real, other = bars(300)[0], bars(400)[0]
    fair = evaluation.class_figures(classifier, images, real, other)
    assert sum(fair[f"class_share/{label}"] for label in range(10)) == pytest.approx(1)
    assert fair["class_share/least"] > 0.05
    one_class = evaluation.class_figures(classifier, images[labels == 3], real, other)
    assert one_class["class_share/3"] > 0.9
    assert one_class["frechet/mnist-cnn"] > 10 * one_class["frechet/mnist-cnn_floor"]


def test_a_damaged_classifier_is_trained_again(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    evaluation.trained_classifier(Bars(), CPU)
    (kept,) = cache.iterdir()
    kept.write_bytes(b"junk")
    again = evaluation.trained_classifier(Bars(), CPU)
    assert "training the classifier again" in caplog.text
    assert again is not None
    assert again.accuracy > 0.95


def test_the_command_on_a_normal(wgan: Wgan) -> None:
    wgan("train", "--config=normal_gp", "--set=training.iterations=5", "--out=run", "--device=cpu")
    result = wgan("evaluate", "--ckpt=run", "--num=500", "--json", "--device=cpu")
    assert result.err == ""
    figures = json.loads(result.out)
    assert figures == json.loads(Path("run/evaluation.json").read_text())
    assert figures["step"] == 5
    assert figures["samples"] == 500
    for name in ("w1", "w2", "gaussian_w2"):
        assert 0 < figures[f"{name}_floor"] < figures[name]
    assert json.loads(wgan("evaluate", "--ckpt=run", "--num=500", "--json", "--device=cpu").out) == figures
    assert "critic/w1_heldout" in wgan("evaluate", "--ckpt=run", "--num=500", "--seed=7").out


def test_a_run_that_cannot_be_written_to_is_measured_all_the_same(wgan: Wgan) -> None:
    wgan("train", "--config=normal_gp", "--set=training.iterations=2", "--out=run", "--device=cpu")
    Path("run/evaluation.json").mkdir()  # nothing can take this name now
    result = wgan("evaluate", "--ckpt=run", "--num=50", "--json", "--device=cpu")
    assert result.code == 1
    assert "w1_floor" in json.loads(result.out)
    assert result.err.startswith("wgan: run/evaluation.json: can't be written")


def test_a_diverged_generator_is_told_and_not_measured(wgan: Wgan) -> None:
    wgan("train", "--config=normal_gp", "--set=training.iterations=2", "--out=run", "--device=cpu")
    for path in Path("run/checkpoints").iterdir():
        state = torch.load(path, weights_only=True)
        for name, value in state["average"].items():
            state["average"][name] = torch.full_like(value, float("nan")) if value.is_floating_point() else value
        path.write_bytes(sealed(state))
    for command in ("evaluate", "sample"):
        result = wgan(command, "--ckpt=run", "--num=50", "--device=cpu")
        assert (result.code, result.out) == (1, "")
        assert "not finite" in result.err


def test_the_command_on_images(wgan: Wgan, made_up_mnist: Path) -> None:
    images = (*TINY_MNIST, f"--set=data.root={made_up_mnist}", "--set=training.iterations=2", "--device=cpu")
    assert wgan("train", "--config=mnist_gp", *images, "--out=run").code == 0
    figures = json.loads(wgan("evaluate", "--ckpt=run", "--json", "--device=cpu").out)
    assert figures["samples"] == 16  # half of the 32 held-out images
    assert {"w1", "w1_floor", "sliced_w1", "sinkhorn_divergence", "frechet/mnist-cnn"} <= figures.keys()
    assert Mnist(root=str(made_up_mnist), checksums=False).size is None
