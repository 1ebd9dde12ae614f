"""A lower bound of W1 that a critic proves, whatever its slope: the McShane extension of its scores.

W1 is the largest difference E f(real) − E f(fake) over all f with slope at most 1 (Kantorovich and Rubinstein). For
any scores at some anchors, the extension f̂(z) = max_i (score_i − ‖z − anchor_i‖) has slope at most 1 (McShane, 1934).
So its mean difference on samples that it was not made from is at most W1, up to the error of their number.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wgan_cli.lipschitz.base import Critic
from wgan_cli.lipschitz.estimate import scores_of
from wgan_cli.lipschitz.slope import slopes
from wgan_cli.transport.confidence import CONFIDENCE, t_quantile, welch_freedom
from wgan_cli.transport.costs import in_pieces, quick_distances

SCALES = (0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
"""The scores are multiplied by one of these, divided by their root mean square slope: the best one is chosen on samples
that take no part in the bound."""
ANCHORS = 4096
"""Of each set, at most: more prove more, and take as much longer."""


@dataclass(frozen=True)
class Bound:
    """A confidence limit of W1, and what it rests on."""

    low: float
    """With the confidence asked for, W1 is larger. At least 0, which is always true."""
    difference: float
    """The mean difference of the extension, which the limit is below."""
    error: float
    """Its standard error."""
    samples: int
    """Judged, of both sets together."""
    anchors: int
    """Of the extension; 0 where the critic's own gap is what is proved."""


def proved(
    critic: Critic,
    chosen: Sequence[Tensor],
    judged: Sequence[Tensor],
    confidence: float = CONFIDENCE,
    *,
    gap_counts: bool = False,
) -> Bound:
    """What a critic proves of W1 between two distributions, in the unit of the samples: see `lower_bound`.

    `chosen` and `judged` are real and fake samples (N, *shape). The critic may have been trained on the chosen ones,
    never on the judged ones; the first `ANCHORS` of each chosen set are anchors. Put it in evaluation mode first.
    `gap_counts` says that the critic has slope at most 1 by construction: then its gap is a second bound, and the
    larger one counts. The two share the chance of being wrong.
    """
    chosen = [samples[:ANCHORS] for samples in chosen]
    scores = [scores_of(critic, samples) for samples in chosen]
    steepness = [slopes(critic, part) for samples in chosen for part in samples.split(1024)]
    slope = torch.cat(steepness).square().mean().sqrt().item()
    flat = [[samples.flatten(1) for samples in pair] for pair in (chosen, judged)]
    if not gap_counts:
        return lower_bound(flat[0], scores, flat[1], slope, confidence)
    confidence = (1 + confidence) / 2
    gap = gap_bound(critic, judged, confidence)
    return max(gap, lower_bound(flat[0], scores, flat[1], slope, confidence), key=lambda bound: bound.low)


def gap_bound(critic: Critic, judged: Sequence[Tensor], confidence: float = CONFIDENCE) -> Bound:
    """What the gap of a critic of slope at most 1 proves of W1, on samples (N, *shape) that it was not trained on."""
    return _limit([scores_of(critic, samples) for samples in judged], confidence, anchors=0)


def extended(anchors: Tensor, scores: Tensor, points: Tensor) -> Tensor:
    """max_i (scores_i − ‖point − anchor_i‖) at each of the points (N, D), for anchors (K, D): (N,).

    `scores` (..., K) give (..., N): several functions at the cost of one set of distances. Memory stays below some
    hundred MB. Distances are computed at least in float32.
    """
    precise = torch.promote_types(points.dtype, torch.float32)
    anchors, points, scores = (values.to(precise) for values in (anchors, points, scores))
    found = []
    for part in in_pieces(points, len(anchors)):
        lengths = quick_distances(part, anchors)  # with large errors the bound would be false
        found.append(torch.stack([(row - lengths).amax(1) for row in scores.reshape(-1, len(anchors))]))
    return torch.cat(found, 1).reshape(*scores.shape[:-1], len(points))


def lower_bound(
    chosen: Sequence[Tensor],
    scores: Sequence[Tensor],
    judged: Sequence[Tensor],
    slope: float,
    confidence: float = CONFIDENCE,
) -> Bound:
    """A lower confidence limit of W1 between two distributions, from real and fake samples of each.

    `chosen` are samples (N, D) and (M, D) that the scores may have been trained on, with their `scores` (N,) and (M,):
    the anchors. `judged` are other samples (n, D) and (m, D), which the scores have never seen. `slope` is a typical
    slope of the scores, such as their root mean square. The limit is Welch's, for means of unequal variances. It rests
    on the mean being nearly normal. Raises ValueError for sets of fewer than two samples.
    """
    if min(map(len, judged)) < 2 or min(map(len, chosen)) < 2:
        raise ValueError("a bound of W1 needs at least two samples of each set, to choose by and to judge by")
    factors = torch.tensor(SCALES, device=scores[0].device) / max(slope, 1e-30)
    anchors = torch.cat(list(chosen))
    values = _scaled(torch.cat(list(scores)), best_factor(chosen, scores, factors), anchors)
    return _limit([extended(anchors, values, points) for points in judged], confidence, len(anchors))


def _scaled(scores: Tensor, factors: Tensor, anchors: Tensor) -> Tensor:
    """factors · scores, about the scores' mean, and no larger than the anchors' reach: a function of slope 1 has no use
    for more, and scores of a critic without slope would become infinite."""
    reach = torch.linalg.vector_norm((anchors - anchors.mean(0)).to(scores), dim=1).max()
    return (factors[..., None] * (scores - scores.mean())).clamp(-reach, reach)


def _limit(values: Sequence[Tensor], confidence: float, anchors: int) -> Bound:
    """Welch's limit of the difference of the means of a function's values at real and at fake samples."""
    real, fake = (each.cpu().double() for each in values)
    difference = (real.mean() - fake.mean()).item()
    variances = [(each.var() / len(each)).item() for each in (real, fake)]
    error = sum(variances) ** 0.5
    low = difference - t_quantile(confidence, welch_freedom(variances, [len(real), len(fake)])) * error
    return Bound(max(low, 0.0), difference, error, len(real) + len(fake), anchors)


def best_factor(chosen: Sequence[Tensor], scores: Sequence[Tensor], factors: Tensor) -> Tensor:
    """The factor (0-d) with the largest mean difference, where every other sample is an anchor and the rest judge."""
    anchors = torch.cat([points[::2] for points in chosen])
    values = _scaled(torch.cat([score[::2] for score in scores]), factors, anchors)
    real, fake = (extended(anchors, values, points[1::2]).mean(1) for points in chosen)
    return factors[(real - fake).argmax()]
