import pytest
import torch
from torch import nn

from wgan_cli.optimizers import Adam, OptimizerSpec, RmsProp, set_rate


@pytest.mark.parametrize("spec", [Adam(lr=0.1, betas=(0.0, 0.9)), RmsProp(lr=0.1, alpha=0.9)])
def test_a_spec_builds_the_optimizer_that_it_names(spec: OptimizerSpec) -> None:
    optimizer = spec.build([nn.Parameter(torch.ones(1))])
    assert type(optimizer).__name__.lower() == spec.kind
    group = optimizer.param_groups[0]
    assert group["lr"] == 0.1
    assert group.get("betas", (0.0, 0.9)) == (0.0, 0.9)
    assert group.get("alpha", 0.9) == 0.9


@pytest.mark.parametrize(("decay", "expected"), [("constant", [1.0] * 4), ("linear", [1.0, 0.75, 0.5, 0.25])])
def test_the_learning_rate_decays_once_an_iteration(decay: str, expected: list[float]) -> None:
    spec = Adam.model_validate({"lr": 1.0, "decay": decay})
    optimizer = spec.build([nn.Parameter(torch.ones(1))])
    rates = []
    for iteration in range(4):
        set_rate(optimizer, spec.rate(iteration, 4))
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx(expected)
    assert spec.rate(5, 4) >= 0  # a run that goes on past its end never climbs


def test_a_rate_that_a_graph_reads_changes_in_place() -> None:
    optimizer = Adam(lr=0.5).build([nn.Parameter(torch.ones(1))])
    rate = optimizer.param_groups[0]["lr"] = torch.tensor(0.5)
    set_rate(optimizer, 0.25)
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate == 0.25


def test_only_a_decaying_rate_changes() -> None:
    assert not Adam(lr=1.0).decays
    assert Adam(lr=1.0, decay="linear").decays
