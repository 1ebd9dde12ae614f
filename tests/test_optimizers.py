from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from wgan_cli.optimizers import Adam, OptimizerSpec, RmsProp, set_rate


@pytest.mark.parametrize(
    ("spec", "peer"),
    [
        (Adam(lr=0.1, betas=(0.0, 0.9)), lambda weights: torch.optim.Adam(weights, lr=0.1, betas=(0.0, 0.9))),
        (RmsProp(lr=0.1, alpha=0.9), lambda weights: torch.optim.RMSprop(weights, lr=0.1, alpha=0.9)),
    ],
)
def test_a_spec_builds_the_optimizer_that_it_names(
    spec: OptimizerSpec, peer: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
) -> None:
    weights, peers = ([nn.Parameter(torch.linspace(-1, 1, 7))] for _ in range(2))
    optimizer, reference = spec.build(weights), peer(peers)
    for step in range(5):
        for parameter in (*weights, *peers):
            parameter.grad = torch.linspace(-2, 3, 7).roll(step)
        optimizer.step()
        reference.step()
        torch.testing.assert_close(weights, peers)
    state = optimizer.state_dict()
    assert state.keys() == reference.state_dict().keys()
    reference.load_state_dict(state)
    optimizer.zero_grad()
    assert weights[0].grad is None
    assert weights[0].requires_grad  # steps build no graph


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        ({}, [1.0] * 4),
        ({"decay": "linear"}, [1.0, 0.75, 0.5, 0.25]),
        ({"decay": "linear", "decay_from": 0.5}, [1.0, 1.0, 1.0, 0.5]),
    ],
)
def test_the_learning_rate_decays_once_an_iteration(decay: dict[str, object], expected: list[float]) -> None:
    spec = Adam.model_validate({"lr": 1.0, **decay})
    optimizer = spec.build([nn.Parameter(torch.ones(1))])
    rates = []
    for iteration in range(4):
        set_rate(optimizer, spec.rate(iteration, 4))
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx(expected)
    assert spec.rate(5, 4) >= 0  # a run that goes on past its end never climbs


def test_a_constant_rate_decays_from_nowhere() -> None:
    with pytest.raises(ValidationError, match="decay: linear"):
        Adam(lr=1.0, decay_from=0.5)


def test_a_rate_that_a_graph_reads_changes_in_place() -> None:
    optimizer = Adam(lr=0.5).build([nn.Parameter(torch.ones(1))])
    rate = optimizer.param_groups[0]["lr"] = torch.tensor(0.5)
    set_rate(optimizer, 0.25)
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate == 0.25


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("spec", [Adam(lr=2**-11), RmsProp(lr=2**-11)])
def test_a_rate_that_a_graph_reads_is_float32_on_the_device_of_the_weights(spec: OptimizerSpec) -> None:
    (group,) = spec.build([nn.Parameter(torch.ones(1, dtype=torch.float64))], capturable=True).param_groups
    assert (group["lr"].dtype, group["lr"].device.type, group["lr"].item()) == (torch.float32, "cpu", 2**-11)


def test_only_a_decaying_rate_changes() -> None:
    assert not Adam(lr=1.0).decays
    assert Adam(lr=1.0, decay="linear").decays


@pytest.mark.parametrize(("spec", "field"), [(Adam, "betas"), (RmsProp, "alpha")])
def test_decays_of_moments_are_at_least_0_and_below_1(spec: type[OptimizerSpec], field: str) -> None:
    def of(value: float) -> OptimizerSpec:
        return spec.model_validate({"lr": 0.1, field: (value, value) if field == "betas" else value})

    of(0.0)
    of(0.999)
    for value in (-0.001, 1.0):
        with pytest.raises(ValidationError):
            of(value)


@pytest.mark.parametrize("spec", [Adam, RmsProp])
def test_rates_are_positive(spec: type[OptimizerSpec]) -> None:
    for rate in (0.0, -0.1):
        with pytest.raises(ValidationError, match="greater than 0"):
            spec.model_validate({"lr": rate})


def test_the_optimizers_take_the_steps_of_their_papers() -> None:
    """One step from a known gradient: Adam moves by the rate, RMSprop by rate / sqrt(1 - alpha)."""
    for spec, expected in ((Adam(lr=0.1), 0.1), (RmsProp(lr=0.1, alpha=0.75), 0.2)):
        weight = torch.nn.Parameter(torch.tensor([3.0]))
        weight.grad = torch.tensor([5.0])
        spec.build([weight]).step()
        assert weight.item() == pytest.approx(3 - expected, rel=1e-5)


def test_the_rate_never_falls_below_zero() -> None:
    assert Adam(lr=0.1, decay="linear").rate(12, 10) == 0


@pytest.mark.parametrize("spec", [Adam(lr=0.1), RmsProp(lr=0.1)])
def test_optimizers_are_fused_and_not_captured_unless_asked(spec: OptimizerSpec) -> None:
    (group,) = spec.build([torch.nn.Parameter(torch.zeros(1))]).param_groups
    assert not group["capturable"]
    assert group["fused"] if isinstance(spec, Adam) else group["foreach"]
    assert isinstance(group["lr"], float)
