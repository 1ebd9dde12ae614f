from pathlib import Path

import pytest
import torch
from scipy import stats

from tests.helpers import next_batch
from wgan_cli.data import Mnist, StackedMnist
from wgan_cli.data.finite import FiniteDataset

CPU = torch.device("cpu")


def loaded(root: Path, triples: int = 500) -> FiniteDataset:
    dataset = StackedMnist(root=str(root), triples=triples).load(CPU)
    assert isinstance(dataset, FiniteDataset)
    return dataset


def test_channels_are_digits_and_the_class_is_theirs(made_up_mnist: Path) -> None:
    dataset = loaded(made_up_mnist)
    for split, store, labels in (
        ("train", dataset.samples, dataset.labels),
        ("test", dataset.others, dataset.other_labels),
    ):
        digits = Mnist.model_validate({"root": str(made_up_mnist), "split": split})
        known, classes = digits.samples().flatten(1), digits.labels()
        assert store is not None
        assert labels is not None
        chosen = torch.arange(60)
        channels = store.at(chosen)
        assert channels.shape == (60, 3, 28, 28)
        match = (channels.flatten(2)[:, :, None] == known).all(3)  # (60, 3, digits); each digit is a picture of its own
        assert (match.sum(2) == 1).all()
        a, b, c = classes[match.int().argmax(2)].T
        assert torch.equal(100 * a + 10 * b + c, labels[chosen])


def test_the_protocol_is_pacgans() -> None:
    spec = StackedMnist()
    assert spec.triples == spec.sample_count == 128_000
    assert spec.HELDOUT == 26_000
    assert len(spec.class_names) == 1000
    assert spec.class_names[7] == "007"
    assert spec.sample_shape == (3, 28, 28)
    assert spec.is_image


def test_digits_of_a_triple_are_independent(made_up_mnist: Path) -> None:
    labels = loaded(made_up_mnist, 20_000).labels
    assert labels is not None
    a, b, c = labels // 100, labels // 10 % 10, labels % 10
    for one, other in ((a, b), (b, c), (a, c)):
        counts = (10 * one + other).bincount(minlength=100).reshape(10, 10)
        assert stats.chi2_contingency(counts.numpy()).pvalue > 1e-3


def test_the_draw_is_always_the_same(made_up_mnist: Path) -> None:
    one, other = loaded(made_up_mnist), loaded(made_up_mnist)
    assert torch.equal(one.samples.at(torch.arange(9)), other.samples.at(torch.arange(9)))
    assert torch.equal(one.labels, other.labels)  # type: ignore[arg-type]
    assert not torch.equal(one.labels[:200], one.other_labels[:200])  # type: ignore[index]


def test_triples_take_the_memory_of_their_indices(made_up_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gathered: list[int] = []
    monkeypatch.setattr("wgan_cli.data.stacked_mnist.scale", lambda images: gathered.append(len(images)) or images)
    dataset = loaded(made_up_mnist, 1_000_000)
    batches = dataset.batches(16, torch.Generator().manual_seed(0))
    assert next_batch(batches).shape == (16, 3, 28, 28)
    assert gathered == [16]
