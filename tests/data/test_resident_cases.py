"""Finite samples on the device: passes, held-out samples, labels and the truth."""

import pytest
import torch

from tests.helpers import next_batch
from wgan_cli.data.finite import FiniteDataset, Store
from wgan_cli.data.pixels import scale
from wgan_cli.errors import BadInputError


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int, first: int = 0) -> torch.Tensor:
    """Images (count, 1, 2, 3) of bytes; image i has the grey `first` + i alone."""
    return torch.arange(first, first + count, dtype=torch.uint8)[:, None, None, None].expand(count, 1, 2, 3).clone()


@pytest.fixture
def dataset() -> FiniteDataset:
    """96 images for training, 32 held out, in ten classes."""
    samples, others = Store.of(images(96)), Store.of(images(32, 200))
    return FiniteDataset(samples, "data.split: x", others, torch.arange(96) % 10, torch.arange(32) % 10)


def test_a_pass_takes_each_sample_once_and_the_next_has_another_order(dataset: FiniteDataset) -> None:
    batches = dataset.batches(20, stream())
    one_pass = torch.cat([next_batch(batches) for _ in range(4)])  # 96 images: the last 16 are dropped
    assert one_pass.shape == (80, 1, 2, 3)
    assert one_pass[:, 0, 0, 0].unique().numel() == 80
    assert torch.isin(one_pass, scale(images(96))).all()
    assert not torch.equal(next_batch(batches), one_pass[:20])


def test_the_stream_continues_in_the_middle_of_a_pass(dataset: FiniteDataset) -> None:
    batches = dataset.batches(32, stream())
    next_batch(batches)
    state = batches.state_dict()
    expected = [next_batch(batches) for _ in range(5)]  # crosses into the next pass
    resumed = dataset.batches(32, stream(99))
    resumed.load_state_dict(state)
    assert all(torch.equal(next_batch(resumed), batch) for batch in expected)


def test_several_batches_can_be_drawn_at_once(dataset: FiniteDataset) -> None:
    one, other = dataset.batches(32, stream()), dataset.batches(32, stream())
    one.draw(4)
    assert all(torch.equal(one.take(number), next_batch(other)) for number in range(4))


def test_ranks_share_a_batch(dataset: FiniteDataset) -> None:
    whole = dataset.batches(32, stream())
    shares = [dataset.batches(32, stream(), share) for share in (slice(0, 16), slice(16, 32))]
    for _ in range(4):
        assert torch.equal(torch.cat([next_batch(share) for share in shares]), next_batch(whole))


def test_a_batch_larger_than_the_data_is_refused(dataset: FiniteDataset) -> None:
    with pytest.raises(BadInputError, match=r"batch_size: 97 is larger than the 96 samples of data\.split: x"):
        dataset.batches(97, stream())


def test_real_samples_are_different_and_held_out_ones_are_never_trained_on(dataset: FiniteDataset) -> None:
    for heldout, samples in ((False, images(96)), (True, images(32, 200))):
        drawn = dataset.real(20, stream(), heldout=heldout)
        assert drawn[:, 0, 0, 0].unique().numel() == 20
        assert torch.isin(drawn, scale(samples)).all()
    assert len(dataset.real(1000, stream(), heldout=True)) == 32


def test_labels_stand_beside_their_samples(dataset: FiniteDataset) -> None:
    for heldout, first in ((False, 0), (True, 200)):
        labelled = dataset.labelled(heldout=heldout)
        assert labelled is not None
        samples, labels = labelled
        greys = ((samples[:, 0, 0, 0] + 1) * 255 / 2).round().long()
        assert torch.equal((greys - first) % 10, labels)


def test_the_truth_is_an_exact_distance_beside_its_floor(dataset: FiniteDataset) -> None:
    heldout = dataset.heldout()
    assert heldout is not None
    same = dataset.truth(heldout.flip(0))
    assert same["truth/w1"].item() == pytest.approx(0, abs=1e-6)
    shifted = dataset.truth(heldout + 0.5)  # W1 of a shift is its length
    assert shifted["truth/w1"].item() == pytest.approx(0.5 * 6**0.5, rel=1e-4)
    greys, all_greys = heldout[:, 0, 0, 0], scale(images(32, 200))[:, 0, 0, 0]
    others = all_greys[~torch.isin(all_greys, greys)]
    floor = 6**0.5 * (greys.sort().values - others.sort().values).abs().mean().item()
    assert shifted["truth/w1_floor"].item() == pytest.approx(floor, rel=1e-4)


def test_data_without_held_out_samples_has_no_truth() -> None:
    dataset = FiniteDataset(Store.of(images(8)), "data.path")
    assert dataset.truth(scale(images(8))) == {}
    assert dataset.heldout() is None
    assert dataset.labelled(heldout=False) is None
    with pytest.raises(BadInputError, match=r"data\.path: has no held-out samples"):
        dataset.real(4, stream(), heldout=True)
