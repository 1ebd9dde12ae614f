"""How figures are named: `truth/w1`, and with an ending what tells more of it. Imports no torch."""

LOW, HIGH, FLOOR = "_ci_low", "_ci_high", "_floor"
"""The ends of a figure's interval of 95 %, and its value for a perfect generator."""


def is_figure(name: str) -> bool:
    """Whether a name is that of a figure itself, not of what tells more of one."""
    return not name.endswith((LOW, HIGH, FLOOR))
