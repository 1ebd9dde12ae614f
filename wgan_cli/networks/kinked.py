"""Critics of linear layers and kinks, which compute scores and slopes, and their gradients, in closed form.

Such a critic is a_0 = x, z_l = W_l a_(l-1) + b_l, a_l = m_l ∘ z_l, with a last layer z_L of one value: the score. The
masks m_l are 1 where z_l is positive and the activation's slope elsewhere. They don't change for small changes of x or
of the weights, so the score's derivatives are products of the same matrices (a convolution is one of them):

    d_L = 1,  d_(l-1) = m_(l-1) ∘ W_lᵀ d_l,  g = W_1ᵀ d_1        d_l = ∂score/∂z_l, and g is the gradient of the score

The penalty of Gulrajani et al. (2017, eq. 3) is a function of the slopes ‖g‖. Let p be the loss's derivative by a
slope, and v_0 = p g / ‖g‖ that by g. As g is linear in each W_l, going through its formula from the left to the right
gives the derivatives of the loss by the d_l, as u_l before their masks:

    u_l = W_l v_(l-1),  v_l = m_l ∘ u_l                          ∂loss/∂W_l = d_l v_(l-1)ᵀ, and ∂loss/∂b_l = 0

At a sample where the loss has the derivative s by its score, the usual rule gives ∂loss/∂W_l = s d_l a_(l-1)ᵀ and
∂loss/∂b_l = s d_l. So all samples and points go through the layers in one pass, and each weight's gradient is one
product, of all d_l with the s a_(l-1) of the samples and the v_(l-1) of the points. Differentiating twice by autograd
takes as many operations, but in smaller products, three where this has two, with more memory to read and write between.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import leaky_relu_, linear
from torch.nn.modules.conv import _ConvNd

from wgan_cli.networks.layers import LeakyReLU

_aten = torch.ops.aten
_TINY = 1e-20
"""Below any slope that matters, and large enough that what is divided by it is finite in float32."""


class Kinked(nn.Sequential):
    """A critic of linear layers and convolutions with a `LeakyReLU` between each two, and layers that only reshape."""

    def forward(self, *inputs: Tensor) -> Any:
        """`critic(samples)` gives the scores (N,) of samples (N, *shape). `critic(samples, ..., points)` gives those of
        all samples, one after the other, and the slopes (M,) at points (M, *shape).

        Slopes are as those of `wgan_cli.lipschitz.slope`: where the gradient is zero, that of a slope is zero too. With
        points, the result can be differentiated once, by the critic's weights and not by samples or points.
        """
        if len(inputs) == 1:
            return super().forward(*inputs)
        count = sum(map(len, inputs[:-1]))
        layers = [layer for layer in self if isinstance(layer, nn.Linear | _ConvNd)]
        kinks = [layer.slope for layer in self if isinstance(layer, LeakyReLU)]
        parameters = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
        maps = [_Map(layer) for layer in layers]
        return _ScoresAndSlopes.apply(maps, kinks, torch.cat(inputs).detach(), count, *parameters)


def critic_of(layers: Sequence[nn.Module]) -> nn.Sequential:
    """The layers as one network: `Kinked` if they are such a critic."""
    *maps, last = [layer for layer in layers if not isinstance(layer, nn.Flatten)]
    in_turn = len(maps) % 2 == 0 and all(
        isinstance(layer, LeakyReLU if position % 2 else nn.Linear | _ConvNd) for position, layer in enumerate(maps)
    )
    is_kinked = in_turn and isinstance(last, nn.Linear) and last.out_features == 1
    return (Kinked if is_kinked else nn.Sequential)(*layers)


class _Map:
    """A linear layer or a convolution as a matrix W, for weights that are given, as an engine may have its own."""

    def __init__(self, layer: nn.Module) -> None:
        self.options: Any = None
        if isinstance(layer, _ConvNd):
            dims = len(layer.kernel_size)
            self.options = (layer.stride, layer.padding, layer.dilation, False, [0] * dims, layer.groups)

    def of(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """W x + b"""
        if self.options is None:
            return linear(x.flatten(1), weight, bias)
        return _aten.convolution(x, weight, bias, *self.options)

    def transposed(self, delta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Wᵀ delta, in the shape of x"""
        if self.options is None:
            return (delta @ weight).view_as(x)
        return _aten.convolution_backward(delta, x, weight, None, *self.options, [True, False, False])[0]

    def outer(self, delta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """The sum of delta xᵀ over all samples, in the shape of W"""
        if self.options is None:
            return delta.T @ x.flatten(1)
        return _aten.convolution_backward(delta, x, weight, None, *self.options, [False, True, False])[1]


class _ScoresAndSlopes(torch.autograd.Function):
    """The formulas above, in their letters. `maps`, `a` and `d` have an entry for each layer, `d` none for the last.
    The first `count` of the `inputs` are samples, the others points."""

    @staticmethod
    def forward(
        ctx: Any, maps: list[_Map], kinks: list[float], inputs: Tensor, count: int, *parameters: Any
    ) -> tuple[Tensor, Tensor]:
        weights, biases = parameters[::2], parameters[1::2]
        a = [inputs]
        for layer, kink in enumerate(kinks):
            a.append(leaky_relu_(maps[layer].of(a[layer], weights[layer], biases[layer]), kink))
        scores = maps[-1].of(a[-1][:count], weights[-1], biases[-1]).flatten()

        d: list[Tensor] = []
        back = weights[-1].expand(len(a[-1]), -1)
        for layer in reversed(range(len(kinks))):
            d.insert(0, _masked(back.view_as(a[layer + 1]), a[layer + 1], kinks[layer]))
            needed = slice(None) if layer else slice(count, None)  # of the samples, no gradient is asked
            back = maps[layer].transposed(d[0][needed], a[layer][needed], weights[layer])
        g = back[count - len(inputs) :].flatten(1)
        slopes = torch.linalg.vector_norm(g, dim=1, dtype=torch.promote_types(g.dtype, torch.float32))

        ctx.maps, ctx.kinks, ctx.count = maps, kinks, count
        ctx.has_bias = [bias is not None for bias in biases]
        ctx.save_for_backward(g, slopes, *weights, *a, *d)
        return scores, slopes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, s: Tensor, p: Tensor) -> tuple[Tensor | None, ...]:
        maps, count, depth = ctx.maps, ctx.count, len(ctx.maps)
        g, slopes, *saved = ctx.saved_tensors
        weights, a, d = saved[:depth], saved[depth : 2 * depth], saved[2 * depth :]
        samples, points = ([x[part] for x in a] for part in (slice(count), slice(count, None)))
        # Each v takes the place of the a of the points: a second backward pass raises torch's error for that.
        factor = (p / slopes.clamp_min(_TINY)).to(g.dtype)  # where a slope is 0, so is g, and stays so
        torch.mul(g.view_as(points[0]), factor.view(-1, *[1] * (points[0].dim() - 1)), out=points[0])
        gradients: list[Tensor | None] = []
        for layer, kink in enumerate(ctx.kinks):
            by_scores = d[layer][:count]
            bias = s @ _sum_over_positions(by_scores) if ctx.has_bias[layer] else None
            smaller = min(by_scores, samples[layer], key=Tensor.numel)
            smaller.mul_(s.view(-1, *[1] * (smaller.dim() - 1)))
            gradients += [maps[layer].outer(d[layer], a[layer], weights[layer]), bias]
            u = maps[layer].of(points[layer], weights[layer])
            _aten.leaky_relu_backward(u, points[layer + 1], kink, True, grad_input=points[layer + 1])
        gradients.append((s @ samples[-1].flatten(1) + points[-1].flatten(1).sum(0))[None])
        gradients.append(s.sum()[None] if ctx.has_bias[-1] else None)
        return None, None, None, None, *gradients


def _masked(x: Tensor, result: Tensor, kink: float) -> Tensor:
    """m ∘ x, for the mask of an activation with this result: it has the sign of the activation's input."""
    return _aten.leaky_relu_backward(x, result, kink, True)


def _sum_over_positions(x: Tensor) -> Tensor:
    """(N, channels, *positions) to (N, channels)"""
    return x.flatten(2).sum(2) if x.dim() > 2 else x
