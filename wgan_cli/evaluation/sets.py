"""The samples that an evaluation compares."""

from dataclasses import dataclass

import torch
from torch import Tensor

from wgan_cli.conditions import Classes, ConditionalDataset
from wgan_cli.data import Dataset
from wgan_cli.errors import BadInputError
from wgan_cli.runs.loaded import LoadedRun


@dataclass(frozen=True)
class Sets:
    """Equally large sets of generated and of held-out samples, whole: given columns stand beside generated ones."""

    fake: Tensor
    real: Tensor
    other: Tensor
    """As many real ones as `real`, for floors."""
    held_out: Tensor
    """Those of `real`, then of `other`, then perhaps one more; without what their conditions give."""
    generated: Tensor
    """`fake` without it."""
    condition: Tensor | None
    """Of `held_out`. Generated samples are asked for what `other` is: both then have equal chances against `real`."""

    @staticmethod
    def drawn(loaded: LoadedRun, num: int, seed: int, generator: torch.Generator) -> "Sets":
        """Sets of `num`, or of as many as the data allows; generated ones of the seeds `seed`, `seed` + 1, ...

        Raises `BadInputError` for sets of one sample.
        """
        held_out, condition = pairs(loaded.dataset, 2 * num, generator, heldout=True)
        count = len(held_out) // 2
        if count < 2:
            raise BadInputError(
                f"at least 4 held-out samples are needed, for a spread and a floor, but the data has {len(held_out)}; "
                "hold out more"
            )
        whole = loaded.config.joined(held_out, condition)
        asked = None if condition is None else condition[count : 2 * count]
        generated = generated_samples(loaded, seed, count, asked)
        fake = loaded.config.joined(generated, asked)
        return Sets(fake, whole[:count], whole[count : 2 * count], held_out, generated, condition)

    @property
    def three(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.fake, self.real, self.other

    @property
    def asked(self) -> Tensor | None:
        """What each generated sample was asked to be."""
        return None if self.condition is None else self.condition[len(self.fake) : 2 * len(self.fake)]

    def asked_class(self, loaded: LoadedRun) -> Tensor | None:
        """The same, one-hot, if that is a class."""
        return self.asked if isinstance(loaded.conditions, Classes) else None


def pairs(dataset: Dataset, count: int, generator: torch.Generator, *, heldout: bool) -> tuple[Tensor, Tensor | None]:
    """Real samples with their conditions, if they have some."""
    if isinstance(dataset, ConditionalDataset):
        return dataset.pairs(count, generator, heldout=heldout)
    return dataset.real(count, generator, heldout=heldout), None


def generated_samples(loaded: LoadedRun, seed: int, count: int, condition: Tensor | None) -> Tensor:
    """Those of the seeds `seed`, `seed` + 1, ..., without what their conditions give."""
    return loaded.generate(loaded.config.latent.from_seeds(range(seed, seed + count)), condition)
