import copy

import pytest
import torch
from torch import Tensor, nn

from wgan_cli.lipschitz import GradientPenalty, LipschitzSpec, Spectral
from wgan_cli.networks import ConvCritic, ConvGenerator, Latent, MlpCritic, MlpGenerator
from wgan_cli.networks.pair import Networks, build_critic

CPU = torch.device("cpu")
LATENTS = Latent(dim=4).from_seeds(range(8))


def networks(seed: int = 0, *, average: float | None = 0.9, lipschitz: LipschitzSpec | None = None) -> Networks:
    """A small generator, with a state in its norm, and a small critic of images."""
    torch.manual_seed(seed)
    return Networks(
        ConvGenerator(channels=(8, 4, 2), norm="batch"),
        ConvCritic(channels=(4, 8)),
        lipschitz or GradientPenalty(),
        Latent(dim=4),
        (1, 8, 8),
        bounded=True,
        average_decay=average,
    )


def move(network: nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter))


def trained(seed: int = 0, **options: float | LipschitzSpec | None) -> Networks:
    """`networks` whose weights, norms and average have moved, as training moves them."""
    pair = networks(seed, **options)
    for _ in range(3):
        pair.generator(torch.randn(16, 4))
        move(pair.generator)
        move(pair.critic)
        pair.update_average()
    return pair


def outputs(pair: Networks) -> list[Tensor]:
    with torch.no_grad():
        latents = LATENTS.to(torch.get_default_dtype())
        samples = pair.eval().generator(latents)
        return [samples, pair.critic(samples), pair.sampler(latents)]


@pytest.mark.parametrize("lipschitz", [GradientPenalty(), Spectral()])
@pytest.mark.parametrize("average", [None, 0.9])
def test_a_loaded_state_gives_the_same_networks(average: float | None, lipschitz: LipschitzSpec) -> None:
    one, other = trained(0, average=average, lipschitz=lipschitz), networks(1, average=average, lipschitz=lipschitz)
    state = copy.deepcopy(one.state_dict())
    other.load_state_dict({**state, "step": 7})  # a checkpoint holds more
    for name in ("generator", "critic", "average"):
        assert (state[name] is None) == (other.state_dict()[name] is None)
        for key, value in (state[name] or {}).items():
            assert torch.equal(other.state_dict()[name][key], value), f"{name}.{key}"
    assert all(torch.equal(a, b) for a, b in zip(outputs(one), outputs(other), strict=True))


def test_a_loaded_average_goes_on_where_it_was_saved() -> None:
    one, other = trained(), networks(1)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for pair in (one, other):
        torch.manual_seed(5)
        move(pair.generator)
        pair.update_average()
    assert torch.equal(outputs(one)[2], outputs(other)[2])


def test_a_state_that_does_not_fit_is_refused() -> None:
    state = networks().state_dict()
    narrow = {**state, "critic": {name: value[:1] for name, value in state["critic"].items()}}
    with pytest.raises(RuntimeError, match="size mismatch"):
        networks().load_state_dict(narrow)
    with pytest.raises(KeyError):
        networks().load_state_dict({"generator": state["generator"]})
    with pytest.raises(TypeError):
        networks(average=0.9).load_state_dict(networks(average=None).state_dict())


def test_samples_come_from_the_average_where_one_is_kept() -> None:
    with_average, without = trained(average=0.9), trained(average=None)
    samples, _, averaged = outputs(with_average)
    assert not torch.equal(samples, averaged)
    assert torch.equal(outputs(without)[0], samples)  # keeping an average changes no network
    assert without.sampler is without.generator


def test_messages_name_every_module() -> None:
    assert list(networks(average=None).named()) == ["generator", "critic"]
    assert list(networks().named()) == ["generator", "critic", "averaged generator"]


def test_the_average_begins_as_the_generator() -> None:
    pair = networks()
    samples, _, averaged = outputs(pair)
    assert torch.equal(samples, averaged)
    assert pair.sampler is not pair.generator


def test_the_generators_first_weights_do_not_depend_on_the_critic() -> None:
    one, other = networks(), networks(lipschitz=Spectral())
    assert all(torch.equal(a, b) for a, b in zip(one.generator.parameters(), other.generator.parameters(), strict=True))


@pytest.mark.usefixtures("in_float64")  # where kernels differ by rounding alone, which depends on the machine
def test_to_stores_the_channels_of_a_pixel_together_and_changes_no_output() -> None:
    pair = trained()
    before = outputs(pair)
    assert pair.to(CPU) is pair
    kernels = [p for module in pair.named().values() for p in module.parameters() if p.dim() == 4 and p.shape[1] > 1]
    assert len(kernels) == 7  # three of the generator and of its average, one of the critic
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(outputs(pair), before, strict=True))
    pair.update_average()  # still of the same generator


def test_eval_is_for_every_module() -> None:
    pair = networks()
    assert pair.generator.training
    assert pair.critic.training
    assert pair.eval() is pair
    assert not any(module.training for module in pair.named().values())


def test_a_critic_is_built_with_its_strategy_attached() -> None:
    plain = build_critic(MlpCritic(hidden=(8,)), GradientPenalty(), (3,))
    spectral = build_critic(MlpCritic(hidden=(8,)), Spectral(), (3,))
    assert len(spectral.state_dict()) == 2 * len(plain.state_dict())
    assert spectral(torch.randn(5, 3)).shape == (5,)


def test_plain_values_need_no_convolution() -> None:
    specs = MlpGenerator(hidden=(8,)), MlpCritic(hidden=(8,)), GradientPenalty(), Latent(dim=4)
    pair = Networks(*specs, (3,), bounded=False)
    assert outputs(pair.to(CPU))[0].shape == (8, 3)
