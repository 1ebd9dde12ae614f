"""Copies of training samples are found, and new samples are not taken for such."""

import pytest
import torch
from torch import Tensor

from wgan_cli.measures.memorisation import Nearest, memorisation


def images(count: int, seed: int) -> Tensor:
    return torch.randn(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


TRAINING, HELD_OUT = images(3000, 0), images(1000, 1)


def figures(samples: Tensor) -> dict[str, float]:
    parts = TRAINING.split(700)
    return memorisation(Nearest.among(parts, samples), Nearest.among(parts, HELD_OUT)).figures()


def test_the_nearest_is_the_nearest_of_all_parts() -> None:
    found = Nearest.among(TRAINING.split(700), HELD_OUT[:50])
    distances = (HELD_OUT[:50, None] - TRAINING).flatten(2).norm(dim=2)
    torch.testing.assert_close(found.distances, distances.amin(1))
    torch.testing.assert_close(found.samples, TRAINING[distances.argmin(1)])


def test_a_copy_is_at_no_distance_where_products_of_matrices_would_round() -> None:
    far = TRAINING + 1000
    assert Nearest.among([far], far[:9]).distances.tolist() == [0] * 9


def test_new_samples_are_no_copies() -> None:
    found = figures(images(1000, 2))
    assert found["memorisation/copies"] == pytest.approx(0.01, abs=0.01)
    assert found["memorisation/copies_floor"] == pytest.approx(0.01, abs=2e-3)
    assert found["memorisation/nearest"] == pytest.approx(found["memorisation/nearest_floor"], rel=0.03)


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_copies_are_counted(share: float) -> None:
    count = int(1000 * share)
    samples = torch.cat([TRAINING[:count] + 0.01 * images(count, 3), images(1000 - count, 4)])
    assert figures(samples)["memorisation/copies"] == pytest.approx(share, abs=0.02)


def test_copies_are_found_far_from_the_origin() -> None:
    far = [part + 1e4 for part in TRAINING.split(700)]
    found = memorisation(Nearest.among(far, TRAINING[:200] + 1e4), Nearest.among(far, HELD_OUT + 1e4)).figures()
    assert found["memorisation/copies"] == 1


def test_copies_are_seen_where_held_out_samples_are_copies_too() -> None:
    repeated = torch.cat([HELD_OUT[:900], TRAINING[:100]])
    nearest, heldout = (Nearest.among([TRAINING], samples) for samples in (TRAINING[500:700], repeated))
    found = memorisation(nearest, heldout).figures()
    assert (found["memorisation/copies"], found["memorisation/copies_floor"]) == (1, 0.1)
