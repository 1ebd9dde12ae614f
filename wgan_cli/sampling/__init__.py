"""Which samples are drawn, and the files that they are written to."""

from wgan_cli.sampling.files import Drawn, check_out, write
from wgan_cli.sampling.requests import LONGEST_STRIP, classes, given_rows, interpolated, parse_classes, request

__all__ = [
    "LONGEST_STRIP",
    "Drawn",
    "check_out",
    "classes",
    "given_rows",
    "interpolated",
    "parse_classes",
    "request",
    "write",
]
