"""What the critic proves of W1 between the data and the samples that a user would get, while it trains."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from wgan_cli.lipschitz.bound import proved
from wgan_cli.networks.base import in_batches
from wgan_cli.training.engine import Outcome
from wgan_cli.training.trainer import Trainer


class Judge:
    """Samples that take no part in training, and the bounds that they judge.

    They are the same each time, so each bound has its confidence alone, and not the largest one of a run. There are
    none with conditions, as the bound is of all samples together, nor where less than two samples are held out.
    """

    MOST, VALUES = 2048, 1 << 19
    """Of each set: this many samples, or this many values (2 MB) if that is less."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, self._is_able = trainer, False
        self.many = max(2, min(self.MOST, self.VALUES // math.prod(trainer.config.sample_shape)))
        self.few = max(2, self.many // 4)
        if trainer.conditions is not None:
            return
        real = trainer.dataset.real
        self._real = real(self.many, torch.Generator().manual_seed(1), heldout=True)
        self._anchors = real(self.many, torch.Generator().manual_seed(2), heldout=False)
        self._latents = trainer.config.latent.from_seeds(range(2 * self.many)).to(trainer.device)
        self._is_able = min(len(self._real), len(self._anchors)) > 1

    def by_few(self, outcome: Outcome) -> dict[str, float]:
        """The bound by some samples, with the last batches as anchors: cheap enough for each logged iteration."""
        if not self._is_able or len(outcome.real) < 2:
            return {}
        return self._bound(
            [outcome.real, outcome.fake], [self._real[: self.few], self._fake(self._latents[: self.few])]
        )

    def by_many(self) -> dict[str, float]:
        """The bound by all samples, with as many new ones as anchors."""
        if not self._is_able:
            return {}
        judging, anchoring = self._fake(self._latents).split(self.many)
        return self._bound([self._anchors, anchoring], [self._real, judging])

    def _fake(self, latents: Tensor) -> Tensor:
        return in_batches(self._trainer.networks.sampler, latents)

    def _bound(self, chosen: Sequence[Tensor], judged: Sequence[Tensor]) -> dict[str, float]:
        critic, gap_counts = self._trainer.networks.critic.eval(), self._trainer.config.proves_gap
        try:
            found = proved(critic, chosen, judged, gap_counts=gap_counts)
        finally:
            critic.train()
        if not math.isfinite(found.difference):
            raise self._trainer.diverged(f"the difference that critic/w1_low rests on is {found.difference}")
        return {"critic/w1_low": found.low}
