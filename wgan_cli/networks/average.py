"""A running average of a network's weights."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """A running average of the weights of `network`. Call its `update_parameters` after each step of the network.

    The decay after n updates is min(decay, (1 + n) / (20 + n)): an average of about the last n / 19 weights
    while n is small. Over n / 9, samples were worse than those of the last weights as long as training was fast. With a
    fixed decay near 1, the untrained first weights would still contribute after a thousand updates. Buffers are copied:
    batch norm's are averages already.
    """

    @torch.no_grad()
    def update(averages: Sequence[Tensor], weights: Sequence[Tensor], _: Tensor | int) -> None:
        count = int(average.n_averaged)  # kept on the CPU: no wait for the device
        torch._foreach_lerp_(list(averages), list(weights), max(19 / (20 + count), 1 - decay))

    average = AveragedModel(network, multi_avg_fn=update)
    return average.requires_grad_(False).eval()
