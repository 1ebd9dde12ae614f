"""A running average of a network's weights."""

import copy

import torch
from torch import Tensor, nn


class Average(nn.Module):
    """A running average of the weights of a network. Call `update` after each step of the network.

    The decay after n updates is min(decay, (1 + n) / (20 + n)): an average of about the last n / 19 weights
    while n is small. Over n / 9, samples were worse than those of the last weights as long as training was fast. With a
    fixed decay near 1, the untrained first weights would still contribute after a thousand updates. Batch norm's
    statistics are averaged too: those of the last weights do not fit averaged ones, and made their samples worse.

    The count of updates is on the device of the weights, and the decay is computed there. So an update never waits for
    the device, and a CUDA graph can hold it. (torch's own `AveragedModel` reads its count, and copies it to the device,
    at each update.)
    """

    n_averaged: Tensor
    """The count of updates (0-d, int64). Checkpoints know it by this name, and the averaged network by `module`."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Begins as a copy of `network`, on its device; the first update copies it once more."""
        super().__init__()
        self.module = copy.deepcopy(network)
        self.decay = decay
        device = next(network.parameters()).device
        self.register_buffer("n_averaged", torch.zeros((), dtype=torch.long, device=device))
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Takes the present weights of `network`, which is on the same device, into the average."""
        share = self._share(next(network.parameters()).dtype)
        for average, weight in zip(self.module.parameters(), network.parameters(), strict=True):
            average.lerp_(weight, share)  # _foreach_lerp_ takes a share on the device too, one tensor after the other
        for (name, own), buffer in zip(self.module.named_buffers(), network.buffers(), strict=True):
            if name.endswith(("running_mean", "running_var")):
                own.lerp_(buffer, share)
            else:  # counts, and a strategy's singular vectors, which have length 1
                own.copy_(buffer)
        self.n_averaged += 1

    def _share(self, dtype: torch.dtype) -> Tensor:
        """What the next update takes of the weights, 1 - decay (0-d): all of them at first, then 19 / (20 + n) or more.

        Both sides of the division are tensors: a number over a tensor would be rounded twice.
        """
        count = self.n_averaged
        return ((19 + (count == 0)).to(dtype) / (20 + count)).clamp_min(1 - self.decay)
