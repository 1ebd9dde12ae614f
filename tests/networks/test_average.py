import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from wgan_cli.networks.average import Average


def with_norm() -> nn.Sequential:
    return nn.Sequential(nn.Linear(7, 13), nn.BatchNorm1d(13), nn.Linear(13, 3))


def move(network: nn.Module) -> None:
    """New weights, and new statistics of batch norm."""
    with torch.no_grad():
        network(torch.randn(5, 7, dtype=next(network.parameters()).dtype))
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter))


def counted_on_the_cpu(network: nn.Module, decay: float) -> AveragedModel:
    """The same average by torch's own class, with Python's numbers."""

    def update(average: Tensor, value: Tensor, _: Tensor | int) -> Tensor:
        if not average.is_floating_point():  # batch norm's count of batches
            return value
        return torch.lerp(average, value, max(19 / (20 + int(averaged.n_averaged)), 1 - decay))

    averaged = AveragedModel(network, avg_fn=update, use_buffers=True)
    return averaged.requires_grad_(False).eval()


def test_the_average_follows_its_own_formula() -> None:
    network = nn.Linear(1, 1)
    average = Average(network, decay=0.9)
    weight = expected = None
    for updates in range(120):
        with torch.no_grad():
            network.weight.fill_(float(updates**1.5 % 7))
        average.update(network)
        weight = network.weight.item()
        decay = min(0.9, (1 + updates) / (20 + updates))
        expected = weight if expected is None else decay * expected + (1 - decay) * weight
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)
    assert expected != weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("decay", [0.9, 0.9999])
def test_the_average_has_the_bits_of_one_that_counts_in_python(decay: float, dtype: torch.dtype) -> None:
    """So that a run of an older version goes on as it would have: a share that is rounded otherwise is seen at once."""
    torch.manual_seed(0)
    network = with_norm().to(dtype)
    ours, theirs = Average(network, decay), counted_on_the_cpu(network, decay)
    for _ in range(250):
        move(network)
        ours.update(network)
        theirs.update_parameters(network)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        for name, value in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], value), name


def test_a_state_of_an_average_that_counts_in_python_goes_on() -> None:
    torch.manual_seed(0)
    network = with_norm()
    theirs, ours = counted_on_the_cpu(network, 0.9), Average(with_norm(), 0.9)
    for _ in range(5):
        move(network)
        theirs.update_parameters(network)
    ours.load_state_dict(theirs.state_dict())
    move(network)
    ours.update(network)
    theirs.update_parameters(network)
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name


def test_an_update_reads_no_value_and_stays_on_the_device() -> None:
    """Tensors of the device `meta` have no values: what would read one, or mix devices, raises."""
    network = with_norm().to("meta")
    average = Average(network, decay=0.9)
    before = {name: id(value) for name, value in average.state_dict(keep_vars=True).items()}
    average.update(network)
    assert average.n_averaged.is_meta
    assert {name: id(value) for name, value in average.state_dict(keep_vars=True).items()} == before
    with pytest.raises(RuntimeError):
        int(average.n_averaged)


def test_singular_vectors_are_those_of_the_last_weights() -> None:
    """Their average would be shorter than 1, and the layer steeper than its strategy allows."""
    network = nn.utils.parametrizations.spectral_norm(nn.Linear(5, 4))
    average = Average(network, decay=0.9)
    for _ in range(3):
        with torch.no_grad():
            network.parametrizations.weight.original.add_(torch.randn(4, 5))
        network(torch.randn(2, 5))
        average.update(network)
    buffers = dict(network.named_buffers())
    assert len(buffers) == 2
    for name, value in average.module.named_buffers():
        assert torch.equal(value, buffers[name])


def test_the_average_forgets_the_start_early() -> None:
    network = nn.Linear(1, 1)
    average = Average(network, decay=0.999)
    for step in range(1500):
        with torch.no_grad():
            network.weight.fill_(100.0 if step < 100 else 1.0)
        average.update(network)
    assert average.module.weight.item() == pytest.approx(1.0, abs=0.01)  # a fixed 0.999 would still be near 25


def test_an_average_takes_no_gradient() -> None:
    average = Average(nn.Linear(2, 2), decay=0.9)
    assert not average.training
    assert not any(parameter.requires_grad for parameter in average.parameters())
