"""A small set of images with classes."""

import torch


def bars(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (count, 1, 28, 28) with a bar at one of ten heights, which is their class (count,)."""
    labels = torch.arange(count) % 10
    images = torch.full((count, 1, 28, 28), -1.0)
    for i, label in enumerate(labels.tolist()):
        images[i, 0, 2 * label + 3 : 2 * label + 5] = 1
    return images + 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(count)), labels
