import pytest
import torch
from torch import nn

from wgan_cli.networks.average import averaged


def test_the_average_follows_its_own_formula() -> None:
    network = nn.Linear(1, 1)
    average = averaged(network, decay=0.9)
    weight = expected = None
    for updates in range(120):
        with torch.no_grad():
            network.weight.fill_(float(updates**1.5 % 7))
        average.update_parameters(network)
        weight = network.weight.item()
        decay = min(0.9, (1 + updates) / (20 + updates))
        expected = weight if expected is None else decay * expected + (1 - decay) * weight
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)
    assert expected != weight


def test_the_average_forgets_the_start_early() -> None:
    network = nn.Linear(1, 1)
    average = averaged(network, decay=0.999)
    for step in range(1500):
        with torch.no_grad():
            network.weight.fill_(100.0 if step < 100 else 1.0)
        average.update_parameters(network)
    assert average.module.weight.item() == pytest.approx(1.0, abs=0.01)  # a fixed 0.999 would still be near 25


def test_an_average_takes_no_gradient() -> None:
    average = averaged(nn.Linear(2, 2), decay=0.9)
    assert not average.training
    assert not any(parameter.requires_grad for parameter in average.parameters())
