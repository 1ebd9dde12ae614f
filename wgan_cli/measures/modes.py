"""Counts the modes of the data that generated samples cover, as VEEGAN and PacGAN do.

Srivastava et al. (2017), "VEEGAN"; Lin et al. (2018), "PacGAN".
"""

import torch
from torch import Tensor

from wgan_cli.measures.classifier import Classifier


def normal_modes(samples: Tensor, centres: Tensor, std: float) -> dict[str, float]:
    """Figures of samples (N, D) of a mixture of normals with `centres` (modes, D) and the spread `std` in each
    dimension.

    `modes/covered` counts the modes with at least one sample within 3 std of their centre, and `modes/within_3_std` is
    the share of such samples; in the plane it is 98.89 % for the mixture itself, if its modes are far apart. Narrow
    modes make that share larger, so `modes/spread` tells their root mean square distance from the centres, in units of
    std √D: 0.974 for such a mixture, 0 for modes that have collapsed to their centres or that no sample is near. There
    is no such figure for modes that are points.
    """
    distance, nearest = torch.cdist(samples.cpu().double(), centres.cpu().double()).min(1)
    is_near = distance <= 3 * std
    figures = {
        "modes/covered": float(len(nearest[is_near].unique())),
        "modes/within_3_std": is_near.double().mean().item(),
    }
    if std > 0:
        square = distance[is_near].square().sum() / is_near.sum().clamp(min=1) / centres.shape[1]
        figures["modes/spread"] = square.sqrt().item() / std
    return figures


def class_modes(classes: Tensor, count: int) -> dict[str, float]:
    """Figures of samples with these classes (N,), if each of `count` classes is a mode.

    `modes/kl` is the Kullback-Leibler divergence of the classes' shares from equal ones, in nats. Even for samples with
    equal chances it is about (count - 1) / (2 N).
    """
    shares = classes.cpu().bincount(minlength=count).double() / len(classes)
    return {
        "modes/covered": float(shares.count_nonzero()),
        "modes/kl": torch.special.xlogy(shares, shares * count).sum().item(),
    }


def stacked_classes(classifier: Classifier, images: Tensor) -> Tensor:
    """The classes (N,) of images (N, C, H, W), of which the classifier sees one channel at a time.

    For channels of the classes a, b, c, of which there are k each, it is (a k + b) k + c.
    """
    digits = classifier.classes(images.flatten(0, 1).unsqueeze(1)).reshape(images.shape[:2])
    powers = classifier.count ** torch.arange(images.shape[1] - 1, -1, -1, device=digits.device)
    return (digits * powers).sum(1)
