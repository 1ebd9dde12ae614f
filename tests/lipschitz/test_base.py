"""A strategy is one class: two that the package lacks (tests/strategies.py) train without a change elsewhere."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.lipschitz.helpers import linear_critic, pair
from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.lipschitz import GradientPenalty, LipschitzSpec, Spectral
from wgan_cli.lipschitz.slope import slopes
from wgan_cli.training.trainer import Trainer

CPU = torch.device("cpu")
PLAIN = ("generator.hidden=[8]", "critic.hidden=[8]", "training.batch_size=8", "training.n_critic=2")
IMAGES = (
    "generator={kind: conv, channels: [4, 2, 1]}",
    "critic={kind: conv, channels: [2, 4]}",
    "training.batch_size=8",
    "training.n_critic=2",
)


class Nothing(LipschitzSpec):
    """A strategy that overrides no hook."""

    kind: str = "nothing"

    @property
    def bounds_slope(self) -> bool:
        return False


def config(lipschitz: LipschitzSpec, *more: str, mnist: Path | None = None) -> RunConfig:
    changes = PLAIN if mnist is None else (*IMAGES, f"data.root={mnist}")
    shipped = load_config("normal_gp" if mnist is None else "mnist_gp", [*changes, *more])
    return shipped.model_copy(update={"lipschitz": lipschitz})


def critic_state(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.networks.critic.state_dict().items()}


def test_a_strategy_does_nothing_by_default() -> None:
    critic, (real, fake) = linear_critic((4,), 3.0), pair((4,))
    before = [parameter.detach().clone() for parameter in critic.parameters()]
    spec = Nothing()
    assert spec.attach(critic) is critic
    spec.constrain(critic)
    assert all(torch.equal(p, b) for p, b in zip(critic.parameters(), before, strict=True))
    stream = torch.Generator().manual_seed(0)
    state = stream.get_state()
    noise = spec.noise(6, (4,), stream)
    assert noise == ()
    assert torch.equal(stream.get_state(), state)
    assert spec.penalty(critic, real, fake, noise).item() == 0
    assert not spec.per_sample
    assert not spec.keeps_state
    assert spec.advice_on_negative_gap() is None


@pytest.mark.parametrize("images", [False, True])
def test_a_strategy_that_attaches_itself_trains(images: bool, made_up_mnist: Path) -> None:
    trainer = Trainer(config(Spectral(), mnist=made_up_mnist if images else None), CPU)
    before = critic_state(trainer)
    for _ in range(20):
        trainer.iterate()
    after = critic_state(trainer)
    moved = [name for name in after if not torch.equal(after[name], before[name])]
    assert {"weight.original", "weight.0._u", "weight.0._v"} <= {name.split(".", 2)[-1] for name in moved}
    if not images:  # two layers with largest singular value 1 and an activation of slope at most 1
        points = torch.linspace(-5, 5, 101)[:, None]
        assert slopes(trainer.networks.critic.eval(), points).max() < 1 + 1e-3


def test_a_strategys_own_state_is_saved_and_loaded() -> None:
    """The singular vectors too: a loaded trainer computes the same bits as one that went on."""
    trainer, loaded = Trainer(config(Spectral()), CPU), Trainer(config(Spectral()), CPU)
    for _ in range(3):
        trainer.iterate()
    loaded.load_state_dict(copy.deepcopy(trainer.state_dict()))
    assert len(critic_state(trainer)) == 2 * len(trainer.config.critic.build((1,)).state_dict())
    for _ in range(3):
        trainer.iterate()
        loaded.iterate()
    assert all(torch.equal(critic_state(loaded)[name], value) for name, value in critic_state(trainer).items())


def test_a_strategy_that_keeps_state_is_refused_by_the_compiler() -> None:
    assert list(config(Spectral()).faults()) == []
    (fault,) = config(Spectral(), "training.engine=compile").faults()
    assert fault == (
        ("lipschitz", "kind"),
        "spectral keeps a state, which training.engine: compile can't hold; use eager",
    )


@pytest.mark.parametrize("images", [False, True])
def test_a_strategy_may_draw_noise_of_any_shape(images: bool, made_up_mnist: Path) -> None:
    seen: list[Tensor] = []

    class Spy(GradientPenalty):
        def penalty(self, critic, real, fake, noise):
            seen.extend(noise)
            return super().penalty(critic, real, fake, noise)

    shape = (1, 28, 28) if images else (1,)
    trainer = Trainer(config(Spy(points="noise"), mnist=made_up_mnist if images else None), CPU)
    figures = trainer.iterate().figures
    assert [noise.shape for noise in seen] == [(8, *shape)] * 2
    assert not torch.equal(*seen)
    assert figures["critic/penalty"] > 0
    assert (figures["critic/penalty"] - figures["critic/gap"]).item() == pytest.approx(figures["critic/loss"].item())
