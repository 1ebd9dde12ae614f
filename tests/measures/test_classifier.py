import logging
from pathlib import Path

import pytest
import torch

from tests.evaluation.helpers import bars
from wgan_cli.data.finite import FiniteDataset, Store
from wgan_cli.data.normal import Normal
from wgan_cli.measures import classifier
from wgan_cli.measures.classifier import Classifier, trained_classifier

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset() -> FiniteDataset:
    return bars_dataset(1000, 200)


def bars_dataset(count: int, heldout: int, sign: float = 1) -> FiniteDataset:
    (images, labels), (others, other_labels) = bars(count), bars(heldout)
    return FiniteDataset(Store.of(sign * images), "data.path", Store.of(others), labels, other_labels)


def trained(dataset: FiniteDataset) -> Classifier:
    found = trained_classifier(dataset, "bars", CPU)
    assert found is not None
    return found


def test_the_classifier_learns_and_is_kept(dataset: FiniteDataset, cache: Path) -> None:
    first = trained(dataset)
    assert first.name == "bars-cnn"
    assert first.accuracy > 0.95
    images, labels = bars(200)
    with torch.no_grad():
        found = first.head(first.features(images)).argmax(1)
    assert (found == labels).double().mean().item() == first.accuracy
    (kept,) = cache.iterdir()
    before = kept.stat().st_mtime_ns
    again = trained(dataset)
    assert kept.stat().st_mtime_ns == before
    assert again.accuracy == first.accuracy


def test_each_set_of_samples_has_a_classifier_of_its_own(cache: Path) -> None:
    for sign in (1, -1):
        trained_classifier(bars_dataset(50, 10, sign), "bars", CPU)
    assert len(list(cache.iterdir())) == 2


def test_a_damaged_classifier_is_trained_again(
    dataset: FiniteDataset, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained_classifier(dataset, "bars", CPU)
    (kept,) = cache.iterdir()
    kept.write_bytes(b"junk")
    assert trained(dataset).accuracy > 0.95
    assert "training the classifier again" in caplog.text


def test_training_it_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    trained_classifier(bars_dataset(50, 10), "bars", CPU)
    assert torch.equal(torch.rand(2), expected)


def test_a_cache_that_cannot_be_written_costs_only_time(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache.write_text("a file")
    small = bars_dataset(50, 10)
    with caplog.at_level(logging.WARNING, "wgan"):
        assert trained_classifier(small, "bars", CPU) is not None
    assert "the classifier can't be kept" in caplog.text
    assert cache.read_text() == "a file"


def test_few_samples_are_seen_often_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "LEAST_STEPS", 200)
    assert trained(bars_dataset(60, 30)).accuracy > 0.95


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classifier has to be better than a guess."""
    monkeypatch.setattr(classifier, "WIDTH", 1.64)


@pytest.mark.usefixtures("strict")
def test_one_that_is_no_better_than_a_guess_judges_nothing(caplog: pytest.LogCaptureFixture) -> None:
    images = torch.rand(200, 1, 8, 8)
    labels = torch.arange(200) % 4
    noise = FiniteDataset(Store.of(images[:150]), "data.path", Store.of(images[150:]), labels[:150], labels[150:])
    assert trained_classifier(noise, "noise", CPU) is None
    (message,) = caplog.messages
    assert message.startswith("no Fréchet distance: a classifier of the 150 training samples is right about ")
    assert message.endswith("hardly more than a guess (26 %)")


@pytest.mark.usefixtures("strict")
def test_too_few_held_out_samples_are_told(caplog: pytest.LogCaptureFixture) -> None:
    assert trained_classifier(bars_dataset(60, 2), "bars", CPU) is None
    assert "2 held-out samples, 50 % of one class, are too few to judge a classifier by" in caplog.text


def test_data_without_labels_has_no_classifier() -> None:
    assert trained_classifier(Normal().load(CPU), "normal", CPU) is None
