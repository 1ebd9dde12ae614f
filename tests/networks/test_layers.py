import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from wgan_cli.lipschitz import GradientPenalty
from wgan_cli.networks import MlpCritic
from wgan_cli.networks.layers import InPlaceLeakyReLU, LeakyReLU, activation

NAMES = {"tanh": nn.Tanh, "silu": nn.SiLU, "elu": nn.ELU, "softplus": nn.Softplus}


@pytest.mark.parametrize("layer", [LeakyReLU, InPlaceLeakyReLU])
@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_leaky_relu_is_torchs_own_to_the_second_derivative(slope: float, layer: type[LeakyReLU]) -> None:
    def ours(x: Tensor) -> Tensor:
        return layer(slope)(x * 1)  # in place on the product

    def theirs(x: Tensor) -> Tensor:
        return torch.nn.functional.leaky_relu(x, slope)

    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.equal(ours(x), theirs(x))
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))
    assert torch.autograd.gradcheck(ours, x)
    assert torch.autograd.gradgradcheck(ours, x)
    seconds = []
    for function in (ours, theirs):
        weight = torch.full((3,), 2.0, dtype=torch.float64, requires_grad=True)
        (slopes,) = torch.autograd.grad(function(x * weight).sum(), x, create_graph=True)
        seconds.append(torch.autograd.grad(slopes.square().sum(), weight)[0])
    assert torch.equal(*seconds)


@pytest.mark.parametrize("with_gradient", [True, False])
def test_leaky_relu_leaves_its_input_alone(with_gradient: bool) -> None:
    x = torch.tensor([-2.0, 3.0], requires_grad=True)
    with torch.set_grad_enabled(with_gradient):
        before = x * 1
        result = before + 10 * LeakyReLU(0.5)(before)  # as a residual block reads its input twice
    assert before.tolist() == [-2, 3]
    assert result.tolist() == [-12, 33]
    if with_gradient:
        assert torch.autograd.grad(result.sum(), x)[0].tolist() == [6, 11]


@pytest.mark.parametrize("with_gradient", [True, False])
def test_in_place_leaky_relu_overwrites_its_input(with_gradient: bool) -> None:
    x = torch.tensor([-2.0, 3.0], requires_grad=True)
    with torch.set_grad_enabled(with_gradient):
        before = x * 1
        result = InPlaceLeakyReLU(0.5)(before)
    assert result.data_ptr() == before.data_ptr()
    assert before.tolist() == [-1, 3]


def test_a_penaltys_second_pass_does_no_work_for_nothing() -> None:
    """torch's own leaky ReLU sends zeros back through every layer; these are the products of a step, counted."""

    class Products(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.count += func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm)
            return func(*args, **(kwargs or {}))

    critic = MlpCritic(hidden=(8, 8)).build((4,))
    real, fake, uniform = torch.randn(6, 4), torch.randn(6, 4), torch.rand(6)
    with Products() as products:
        GradientPenalty(weight=1.0).penalty(critic, real, fake, (uniform,)).backward()
    # Three layers: a pass forward, one back to the points, and from there for each layer a product for its weight
    # and one that goes on; the first has nothing before it, and the last nothing behind it.
    assert products.count <= 3 + 3 + 5


@pytest.mark.parametrize("in_place", [False, True])
def test_activations_are_found_by_name(in_place: bool) -> None:
    for name, layer in NAMES.items():
        assert type(activation(name, in_place=in_place)) is layer
    for name, slope in (("relu", 0.0), ("leaky_relu", 0.2)):
        found = activation(name, in_place=in_place)
        assert type(found) is (InPlaceLeakyReLU if in_place else LeakyReLU)
        assert found.slope == slope
