"""Confidence limits of means."""

from collections.abc import Sequence

CONFIDENCE = 0.95
"""Of a limit, one-sided, where none is asked for."""


def welch_freedom(variances: Sequence[float], counts: Sequence[int]) -> float:
    """Degrees of freedom of a sum of means with these variances, each of `counts` values (Welch and Satterthwaite)."""
    total = sum(variances)
    parts = sum(variance**2 / (count - 1) for variance, count in zip(variances, counts, strict=True))
    return total**2 / parts if parts else float(sum(counts))


def t_quantile(confidence: float, freedom: float) -> float:
    """The quantile of Student's t distribution."""
    from scipy.special import stdtrit  # takes a moment to import

    return float(stdtrit(freedom, confidence))
