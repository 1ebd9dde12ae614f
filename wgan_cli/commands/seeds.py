"""Seeds as they are written on the command line."""

from wgan_cli.errors import BadInputError

MOST_SEEDS = 10_000_000
"""Of one call: so many samples are in one file at most."""


def parse_seeds(text: str) -> list[int]:
    """The seeds of `--seeds`: `0,3-5` is [0, 3, 4, 5]."""
    ranges = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise BadInputError(f"--seeds {text}: {part!r} is no seed; write numbers and ranges, such as 0,3-9")
        ranges.append(range(int(first), int(last or first) + 1))
    if any(not seeds for seeds in ranges):
        raise BadInputError(f"--seeds {text}: a range goes from its smaller number to its larger, such as 3-9")
    check_seeds(max(seeds[-1] for seeds in ranges), sum(seeds[-1] - seeds[0] + 1 for seeds in ranges))
    return [seed for seeds in ranges for seed in seeds]


def parse_pair(text: str) -> tuple[int, int]:
    """The two seeds of `--interpolate`: `3,7` is (3, 7)."""
    first, _, last = text.partition(",")
    if not (first.strip().isdecimal() and last.strip().isdecimal()):
        raise BadInputError(f"--interpolate {text}: must name two seeds, such as 3,7")
    check_seeds(max(int(first), int(last)))
    return int(first), int(last)


def check_seeds(largest: int, count: int = 1) -> None:
    """Refuses a seed that is too large, and more samples than one file should hold."""
    if largest >= 2**32:  # torch's generator on the CPU uses no more
        raise BadInputError(f"--seed {largest}: is too large; seeds are below 2**32")
    if count > MOST_SEEDS:
        raise BadInputError(f"{count:,} samples are too many for one file ({MOST_SEEDS:,} at most); draw them in parts")
