import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.training.helpers import CPU, differing, quick
from wgan_cli.config.run_config import RunConfig
from wgan_cli.errors import BadInputError, ExitCode, WganError
from wgan_cli.networks.base import in_batches
from wgan_cli.training.steps import Figures, Steps
from wgan_cli.training.trainer import Trainer


def asked(name: str, mnist: Path) -> RunConfig:
    """`images`, or plain values of a shipped config. The sixth batch of 16 images begins another pass."""
    images = (f"data={{kind: mnist, root: {mnist}}}",) if name == "images" else ()
    return quick("normal_gp" if images else name, *images, iterations=12)


def iterate(trainer: Trainer, count: int) -> list[Figures]:
    """The figures of the next iterations."""
    return [{name: value.clone() for name, value in trainer.iterate().figures.items()} for _ in range(count)]


@pytest.mark.parametrize("name", ["normal_gp", "normal_clip", "normal512_clip", "images"])
def test_a_loaded_trainer_goes_on_bit_for_bit(name: str, made_up_mnist: Path) -> None:
    """normal512_clip has dropout, normal_gp Adam's moments, an average and a decay."""
    config = asked(name, made_up_mnist)
    whole = Trainer(config, CPU)
    iterate(whole, 4)
    state = copy.deepcopy(whole.state_dict())
    expected = iterate(whole, 4)
    end = copy.deepcopy(whole.state_dict())
    loaded = Trainer(config, CPU)
    assert differing(loaded.state_dict(), state) != []
    loaded.load_state_dict(copy.deepcopy(state))
    assert loaded.step == 4
    assert differing(loaded.state_dict(), state) == []
    assert iterate(loaded, 4) == expected
    assert differing(loaded.state_dict(), end) == []
    assert loaded.optimizers["critic"].param_groups[0]["lr"] == whole.optimizers["critic"].param_groups[0]["lr"]


def test_a_state_survives_a_file(tmp_path: Path) -> None:
    """Plain containers and tensors: torch reads them back without running code."""
    trainer = Trainer(quick(), CPU)
    iterate(trainer, 2)
    torch.save(trainer.state_dict(), tmp_path / "state.pt")
    assert differing(torch.load(tmp_path / "state.pt", weights_only=True), trainer.state_dict()) == []


def test_a_longer_run_takes_the_decay_of_its_new_length() -> None:
    short, long = Trainer(quick(), CPU), Trainer(quick(iterations=12), CPU)
    iterate(short, 6)
    long.load_state_dict(short.state_dict())
    assert long.step == 6
    assert [group["lr"] for group in long.optimizers["generator"].param_groups] == pytest.approx([1e-3 * 0.5])


def test_a_state_of_another_device_is_refused() -> None:
    state = {**Trainer(quick(), CPU).state_dict(), "device": "cuda"}
    with pytest.raises(BadInputError, match="trained on cuda; go on with --device cuda"):
        Trainer(quick(), CPU).load_state_dict(state)


def test_the_data_must_be_that_of_the_state_as_far_as_that_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint of an older version says less of its data."""
    trainer = Trainer(quick(), CPU)
    state = trainer.state_dict()
    monkeypatch.setattr(type(trainer.dataset), "state_dict", lambda _: {"digest": "a", "types": ["int32", "bool"]})
    trainer.load_state_dict({**state, "data": {"digest": "a"}})
    for other in ({}, {"digest": "b"}, {"digest": "a", "types": ["bool", "bool"]}, {"digest": "a", "samples": 3}):
        with pytest.raises(BadInputError, match="the data has changed"):
            trainer.load_state_dict({**state, "data": other})


@pytest.mark.parametrize("part", ["step", "generator", "critic", "average", "optimizers", "streams", "batches"])
def test_a_state_that_lacks_a_part_is_refused(part: str) -> None:
    state = {name: value for name, value in Trainer(quick(), CPU).state_dict().items() if name != part}
    with pytest.raises(BadInputError, match="the checkpoint does not fit its own config"):
        Trainer(quick(), CPU).load_state_dict(state)


def test_each_critic_step_has_fresh_real_samples_and_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    step = Steps.critic_step

    def spy(steps, critic, optimizer, real, fake, *others):
        assert not fake.requires_grad  # no generator graph in a critic step
        seen.append((real.clone(), fake.clone()))
        return step(steps, critic, optimizer, real, fake, *others)

    monkeypatch.setattr(Steps, "critic_step", spy)
    trainer = Trainer(quick("normal_clip", "training.n_critic=3"), CPU)
    trainer.iterate()
    assert len(seen) == 3
    for which in (0, 1):
        batches = [pair[which] for pair in seen]
        assert not torch.equal(batches[0], batches[1])
        assert not torch.equal(batches[1], batches[2])


def test_one_generator_step_an_iteration_and_n_critic_critic_steps() -> None:
    trainer = Trainer(quick("normal_gp", "training.n_critic=3"), CPU)
    iterate(trainer, 2)
    counts = {
        name: {int(state["step"]) for state in optimizer.state.values()}
        for name, optimizer in trainer.optimizers.items()
    }
    assert counts == {"generator": {2}, "critic": {6}}
    assert trainer.step == 2


def test_clipped_weights_stay_within_the_bound() -> None:
    trainer = Trainer(quick("normal_clip"), CPU)
    iterate(trainer, 5)
    assert max(parameter.abs().max().item() for parameter in trainer.networks.critic.parameters()) <= 0.01


def test_samples_come_from_the_average_where_one_is_kept() -> None:
    with_average = Trainer(quick("normal_gp", "training.average=0.9"), CPU)
    without = Trainer(quick("normal_gp", "training.average=null"), CPU)
    for trainer in (with_average, without):
        iterate(trainer, 5)
    latents = with_average.config.latent.from_seeds(range(8))
    raw = in_batches(with_average.networks.generator, latents)
    assert torch.equal(in_batches(without.networks.sampler, latents), raw)  # keeping an average changes no training
    assert not torch.equal(in_batches(with_average.networks.sampler, latents), raw)


def test_first_weights_depend_on_the_seed_alone() -> None:
    one, other, third = (
        list(Trainer(quick("normal_gp", *overrides), CPU).networks.critic.parameters())
        for overrides in ((), ("data.mean=9.0",), ("seed=1",))
    )
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(one[0], third[0])


def test_moments_that_are_not_finite_are_found() -> None:
    trainer = Trainer(quick("normal_gp"), CPU)
    trainer.iterate()
    trainer.check_finite()
    moments = next(iter(trainer.optimizers["critic"].state.values()))
    moments["exp_avg_sq"].view(-1)[0] = float("inf")
    with pytest.raises(WganError, match="critic optimizer's exp_avg_sq is not finite at iteration 1"):
        trainer.check_finite()


@pytest.mark.parametrize("network", ["generator", "critic", "averaged generator"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_named(network: str, value: float) -> None:
    trainer = Trainer(quick("normal_gp"), CPU)
    with torch.no_grad():
        next(trainer.networks.named()[network].parameters()).view(-1)[-1] = value
    with pytest.raises(WganError, match=rf"diverged: {network} weight .* is not finite at iteration 0") as caught:
        trainer.check_finite()
    assert caught.value.exit_code == ExitCode.DIVERGED
