"""Counts of modes against known answers, laws and SciPy."""

import math

import pytest
import scipy.stats
import torch
from torch import nn

from wgan_cli.data import Points
from wgan_cli.measures.classifier import Classifier
from wgan_cli.measures.modes import class_modes, normal_modes, stacked_classes

CPU = torch.device("cpu")


def test_a_mode_counts_from_one_sample_within_three_std() -> None:
    centres = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    samples = torch.tensor([[0.0, 1.49], [1.06, 1.06], [1.07, 1.07], [4.0, 1.51], [40.0, 0.0]])
    for chosen, std, covered, share in ((samples, 0.5, 1, 2 / 5), (samples, 1.0, 2, 4 / 5), (samples[-1:], 1.0, 0, 0)):
        figures = normal_modes(chosen, centres, std)
        assert (figures["modes/covered"], figures["modes/within_3_std"]) == (covered, share)


def test_narrow_modes_are_seen_by_their_spread() -> None:
    """They make the share within 3 std larger than that of the data."""
    data = Points.model_validate({"shape": "grid"})
    centres, std = data.mixture or (torch.empty(0), 0.0)
    chosen = centres.repeat(4000, 1)
    noise = torch.randn(chosen.shape, generator=torch.Generator().manual_seed(0))
    true, narrow, none = (normal_modes(chosen + scale * std * noise, centres, std) for scale in (1.0, 0.4, 0.0))
    within = 1 - math.exp(-4.5)  # E[r² / 2 | r < 3] for a Rayleigh distance r
    assert true["modes/spread"] == pytest.approx(math.sqrt((1 - 5.5 * math.exp(-4.5)) / within), rel=0.005)
    assert narrow["modes/spread"] == pytest.approx(0.4, rel=0.01)
    assert none["modes/spread"] == pytest.approx(0, abs=1e-4)
    assert narrow["modes/within_3_std"] > true["modes/within_3_std"]
    assert normal_modes(centres + 100, centres, std)["modes/spread"] == 0
    assert normal_modes(centres, centres, 0.0) == {"modes/covered": 25, "modes/within_3_std": 1}  # points are not wide


@pytest.mark.parametrize(("shape", "modes"), [("ring", 8), ("grid", 25)])
def test_the_data_itself_covers_all_modes_with_the_share_of_its_law(shape: str, modes: int) -> None:
    data = Points.model_validate({"shape": shape})
    samples = data.draw(100_000, torch.Generator().manual_seed(0))
    centres = data.centres()
    assert centres is not None
    figures = normal_modes(samples, centres, data.noise)
    assert figures["modes/covered"] == modes
    assert figures["modes/within_3_std"] == pytest.approx(1 - math.exp(-9 / 2), abs=0.002)  # a Rayleigh distance


def test_the_divergence_of_classes_is_that_of_scipy() -> None:
    classes = torch.tensor([0, 0, 0, 1, 1, 4])
    figures = class_modes(classes, 5)
    assert figures["modes/covered"] == 3
    assert figures["modes/kl"] == pytest.approx(scipy.stats.entropy([3, 2, 0, 0, 1], [1] * 5))
    assert class_modes(torch.arange(5), 5) == {"modes/covered": 5, "modes/kl": pytest.approx(0)}
    assert class_modes(torch.zeros(5, dtype=torch.long), 5)["modes/kl"] == pytest.approx(math.log(5))


def test_the_divergence_of_equal_chances_has_its_expected_value() -> None:
    classes = torch.randint(1000, (26_000,), generator=torch.Generator().manual_seed(0))
    assert class_modes(classes, 1000)["modes/kl"] == pytest.approx(999 / 52_000, rel=0.1)


def test_a_stacked_class_has_a_digit_a_channel() -> None:
    """Each channel's class here is its brightest column."""
    head = nn.Linear(10, 10)
    nn.init.eye_(head.weight)
    classifier = Classifier("brightest", nn.Flatten(), head, 1.0)
    images = torch.zeros(2, 3, 1, 10)
    for image, digits in enumerate([(1, 2, 3), (9, 0, 7)]):
        for channel, digit in enumerate(digits):
            images[image, channel, 0, digit] = 5
    assert stacked_classes(classifier, images).tolist() == [123, 907]
