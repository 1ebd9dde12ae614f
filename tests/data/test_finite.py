import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from tests.helpers import next_batch
from wgan_cli.data import finite
from wgan_cli.data.finite import FiniteDataset, Store, judged_count
from wgan_cli.errors import BadInputError

CPU = torch.device("cpu")


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def values(count: int, first: int = 0) -> Tensor:
    """Samples (count, 2); sample i is (`first` + i, -i)."""
    i = torch.arange(count, dtype=torch.float32)
    return torch.stack([first + i, -i], 1)


def store(samples: Tensor, resident: bool) -> Store:
    if resident:
        return Store.of(samples)
    return Store(lambda chosen: samples[chosen], len(samples), CPU, is_resident=False)


@pytest.fixture(params=[True, False], ids=["resident", "streamed"])
def dataset(request: pytest.FixtureRequest) -> FiniteDataset:
    """96 samples to train on, 32 held out, in ten classes."""
    train, heldout = store(values(96), request.param), store(values(32, 200), True)
    return FiniteDataset(train, "data.x", heldout, torch.arange(96) % 10, torch.arange(32) % 10, {"samples": 96})


def test_bytes_are_kept_as_bytes_and_given_as_numbers() -> None:
    images = torch.tensor([[0], [51], [255]], dtype=torch.uint8)
    found = Store.of(images).at(torch.tensor([2, 1, 0]))
    assert found.dtype == torch.float32
    assert found.flatten().tolist() == pytest.approx([1, -0.6, -1])


def test_samples_are_fetched_by_their_indices(dataset: FiniteDataset) -> None:
    chosen = torch.tensor([95, 0, 7, 7])
    assert torch.equal(dataset.at(chosen, heldout=False), values(96)[chosen])
    assert torch.equal(dataset.at(chosen % 32, heldout=True), values(32, 200)[chosen % 32])


def test_real_samples_are_different_ones_of_their_side(dataset: FiniteDataset) -> None:
    for heldout, samples in ((False, values(96)), (True, values(32, 200))):
        drawn = dataset.real(20, stream(), heldout=heldout)
        assert drawn.unique(dim=0).shape == (20, 2)
        assert torch.isin(drawn[:, 0], samples[:, 0]).all()
        chosen = dataset.choose(20, stream(), heldout=heldout)
        assert torch.equal(drawn, samples[chosen])
    assert len(dataset.real(1000, stream(), heldout=True)) == 32


def test_labels_stand_beside_their_samples(dataset: FiniteDataset) -> None:
    for heldout in (False, True):
        labelled = dataset.labelled(heldout=heldout)
        assert labelled is not None
        samples, labels = labelled
        assert torch.equal((-samples[:, 1]).long() % 10, labels)


def test_batches_are_of_samples_to_train_on(dataset: FiniteDataset) -> None:
    batches = dataset.batches(20, stream())
    for _ in range(9):
        batches.draw(1)
        assert torch.equal(batches.take(0), values(96)[batches.chosen(0)])


def test_a_batch_larger_than_the_data_is_refused(dataset: FiniteDataset) -> None:
    with pytest.raises(BadInputError, match=r"batch_size: 97 is larger than the 96 samples of data\.x"):
        dataset.batches(97, stream())


def test_the_truth_is_scipys_distance_beside_its_floor(dataset: FiniteDataset) -> None:
    assert dataset.reference is not None
    first, second = dataset.reference
    heldout = dataset.heldout()
    assert heldout is not None
    assert torch.equal(first, heldout)
    assert len(first) == len(second) == 16
    assert torch.cat([first, second]).unique(dim=0).shape == (32, 2)
    samples = torch.randn(16, 2, generator=stream()) * 20 + 210
    for generated, name in ((samples, "truth/w1"), (second, "truth/w1_floor")):
        cost = torch.cdist(first.double(), generated.double()).numpy()
        expected = cost[linear_sum_assignment(cost)].mean()
        assert dataset.truth(samples)[name].item() == pytest.approx(expected, rel=1e-6)


def test_large_samples_are_judged_by_fewer(monkeypatch: pytest.MonkeyPatch, dataset: FiniteDataset) -> None:
    assert judged_count((1, 28, 28)) == 1000
    assert judged_count((3, 256, 256)) == 170
    assert judged_count((1 << 30,)) == 2
    monkeypatch.setattr(finite, "MOST_VALUES", 10)
    assert dataset.reference is not None
    assert [len(side) for side in dataset.reference] == [5, 5]


def test_held_out_pairs_have_no_condition_here(dataset: FiniteDataset) -> None:
    pairs = dataset.heldout_pairs(5)
    heldout = dataset.heldout()
    assert pairs is not None
    assert heldout is not None
    assert torch.equal(pairs[0], heldout[:5])
    assert pairs[1] is None


def test_data_without_held_out_samples_has_no_truth() -> None:
    dataset = FiniteDataset(Store.of(values(8)), "data.path")
    assert dataset.truth(values(8)) == {}
    assert dataset.heldout() is None
    assert dataset.heldout_pairs(4) is None
    assert dataset.labelled(heldout=False) is None
    assert dataset.labelled(heldout=True) is None
    with pytest.raises(BadInputError, match=r"data\.path: has no held-out samples"):
        dataset.real(4, stream(), heldout=True)


def test_what_a_checkpoint_needs_is_kept(dataset: FiniteDataset) -> None:
    assert dataset.state_dict() == {"samples": 96}


def test_a_batch_may_hold_all_samples() -> None:
    samples = values(6)
    batch = next_batch(FiniteDataset(Store.of(samples), "data.path").batches(6, stream()))
    assert torch.equal(batch[batch[:, 0].argsort()], samples)
