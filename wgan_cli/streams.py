"""Named streams of random numbers: drawing from one stream never changes the numbers of another."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

NAMES = ("data", "latents", "penalty")


def stream_seed(seed: int, name: str) -> int:
    """The seed of the stream `name` in a run with this `seed`. Streams of neighbouring seeds are unrelated.

    It has 32 bits, because torch's generator on the CPU uses no more.
    """
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


class Streams:
    """One `torch.Generator` on the training device for each use of random numbers.

    `data` orders or draws real samples, `latents` feeds the generator, `penalty` feeds the Lipschitz strategy.
    Pictures and figures use per-seed latents (`Latent.from_seeds`) and none of these streams, so logging more
    often changes nothing in training.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.data, self.latents, self.penalty = (
            torch.Generator(device).manual_seed(stream_seed(seed, name)) for name in NAMES
        )

    @property
    def all(self) -> list[torch.Generator]:
        """The generators, in the order of `NAMES`."""
        return [getattr(self, name) for name in NAMES]

    def state_dict(self) -> dict[str, Tensor]:
        """The state of each generator by its name, as byte tensors on the CPU."""
        return {name: getattr(self, name).get_state() for name in NAMES}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state_dict`."""
        for name in NAMES:
            getattr(self, name).set_state(state[name].cpu())
