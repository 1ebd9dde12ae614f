import pytest
import torch

from tests.helpers import next_batch
from wgan_cli.data.endless import EndlessDataset

CPU = torch.device("cpu")
DATASET = EndlessDataset(lambda count, generator: torch.randn(count, 2, 3, generator=generator), CPU)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_batch_is_new() -> None:
    batches = DATASET.batches(16, stream())
    first = next_batch(batches)
    assert first.shape == (16, 2, 3)
    assert not torch.equal(next_batch(batches), first)


def test_the_generator_alone_decides_the_batches() -> None:
    generator = stream()
    batches = DATASET.batches(16, generator)
    next_batch(batches)
    state, position = generator.get_state(), batches.state_dict()
    expected = next_batch(batches)
    other = stream(99)
    resumed = DATASET.batches(16, other)
    resumed.load_state_dict(position)
    other.set_state(state)
    assert torch.equal(next_batch(resumed), expected)


def test_ranks_share_a_batch() -> None:
    whole = DATASET.batches(16, stream())
    shares = [DATASET.batches(16, stream(), share) for share in (slice(0, 8), slice(8, 16))]
    for _ in range(2):
        assert torch.equal(torch.cat([next_batch(share) for share in shares]), next_batch(whole))


def test_real_samples_are_new_so_none_are_held_out() -> None:
    assert torch.equal(DATASET.real(5, stream(1), heldout=False), DATASET.real(5, stream(1), heldout=True))
    assert DATASET.heldout() is None
    assert DATASET.labelled(heldout=False) is None


def test_the_truth_is_w1_to_new_samples() -> None:
    new = DATASET.truth(DATASET.real(1000, stream(7), heldout=False))
    assert new["truth/w1"].item() == pytest.approx(new["truth/w1_floor"].item(), rel=0.1)
    shifted = DATASET.truth(DATASET.real(1000, stream(7), heldout=False) + 10)
    assert shifted["truth/w1"].item() == pytest.approx(10 * 6**0.5, rel=0.01)
