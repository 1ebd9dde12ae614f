"""Critics of samples with a condition, a vector (N, width) beside each sample."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from wgan_cli.networks.base import CriticSpec, Shape


class ConditionalCritic(nn.Module):
    """Samples (N, *shape) and conditions (N, width) to scores (N,)."""

    @abstractmethod
    def forward(self, samples: Tensor, condition: Tensor) -> Tensor: ...


class ProjectionCritic(ConditionalCritic):
    """critic(x, c) = w · φ(x) + b + (V c) · φ(x) with the features φ before the critic's last layer.

    The projection of Miyato and Koyama (2018): for classes, c is one-hot and V c an embedding of the class.
    """

    def __init__(self, spec: CriticSpec, shape: Shape, width: int) -> None:
        super().__init__()
        layers = spec.build(shape)
        assert isinstance(layers, nn.Sequential)
        assert isinstance(layers[-2], nn.Linear)
        self.features, self.head = layers[:-2], layers[-2]
        self.embedding = nn.Linear(width, self.head.in_features, bias=False)
        bound = self.head.in_features**-0.5  # as large as the head's weights: torch's own would be many times larger
        nn.init.uniform_(self.embedding.weight, -bound, bound)

    def forward(self, samples: Tensor, condition: Tensor) -> Tensor:
        features = self.features(samples)
        projected = (self.embedding(condition.to(features.dtype)) * features).sum(1)
        return self.head(features).flatten() + projected


class ConcatenationCritic(ConditionalCritic):
    """A critic that sees the condition as further values of a vector, or as constant channels."""

    def __init__(self, spec: CriticSpec, shape: Shape, width: int) -> None:
        super().__init__()
        self.critic = spec.build((shape[0] + width, *shape[1:]))

    def forward(self, samples: Tensor, condition: Tensor) -> Tensor:
        spread = condition.to(samples.dtype).reshape(*condition.shape, *[1] * (samples.dim() - 2))
        return self.critic(torch.cat([samples, spread.expand(-1, -1, *samples.shape[2:])], 1))
