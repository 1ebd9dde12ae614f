"""What networks of stages share: each stage halves or doubles the sizes of a series, an image or a volume."""

import math
from abc import abstractmethod
from typing import Annotated

from pydantic import Field, field_validator

from wgan_cli.networks.base import NetworkSpec, Shape
from wgan_cli.networks.layers import Activation
from wgan_cli.networks.spatial import channels_per_group

Widths = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)]
"""Not strict, so that a list will do: pydantic has the list in Python where a validator looked at the whole spec."""


class StagesSpec(NetworkSpec):
    """Fits samples (channels, *sizes) of one to three sizes, each divisible by what the stages halve it by."""

    channels: Widths
    activation: Activation = "leaky_relu"
    """After each layer but the last."""

    @field_validator("channels")
    @classmethod
    def _check_channels(cls, channels: tuple[int, ...]) -> tuple[int, ...]:
        if not channels:
            raise ValueError("must have at least one number, a stage each")
        return channels

    @property
    @abstractmethod
    def halvings(self) -> int:
        """How many times each size is halved between a sample and the smallest stage."""

    def smallest(self, shape: Shape) -> tuple[int, ...]:
        """The sizes of the smallest stage. Raises ValueError, with a remedy, if the stages don't divide the sizes."""
        self.check_shape(shape)
        return tuple(size // 2**self.halvings for size in shape[1:])

    def check_shape(self, shape: Shape) -> None:
        if len(shape) not in (2, 3, 4):
            what = f"is {shape[0]} plain values" if len(shape) == 1 else f"has {len(shape)} dimensions"
            raise ValueError(f"{self.kind} needs series, images or volumes, but a sample here {what}; use mlp")
        factor, sizes = 2**self.halvings, shape[1:]
        if any(size % factor for size in sizes):
            times = "once" if self.halvings == 1 else f"{self.halvings} times"
            near = ", ".join(_nearest(size, factor) for size in dict.fromkeys(sizes) if size % factor)
            raise ValueError(
                f"{self.kind} with channels {list(self.channels)} halves each size {times}, so sizes must divide by "
                f"{factor}, but a sample is {' x '.join(map(str, sizes))} ({near}); "
                "change the sizes, take fewer stages, or use mlp"
            )
        if self.norm in ("layer", "group", "instance"):
            least = min(channels_per_group(self.norm, channels) for channels in self.channels)
            if least * math.prod(sizes) == factor ** len(sizes):
                raise ValueError(
                    f"{self.kind} with norm: {self.norm} would normalise single values, as its smallest stage has one "
                    "position; use another norm, or take fewer stages"
                )


def _nearest(size: int, factor: int) -> str:
    """The sizes next to `size` that divide by `factor`, in words."""
    below = size // factor * factor
    return f"nearest to {size}: {below} and {below + factor}" if below else f"nearest to {size}: {factor}"
