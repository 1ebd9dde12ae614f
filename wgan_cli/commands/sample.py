"""`wgan sample`: draws samples from a trained generator."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from wgan_cli.commands.options import Best, Checkpoint, Device, Run, a_path, an_output, named_run
from wgan_cli.commands.seeds import check_seeds, parse_pair, parse_seeds
from wgan_cli.errors import BadInputError

log = logging.getLogger("wgan")
Num = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="The number of samples; of several classes, that of each. [default: 64 or 8]"
    ),
]
Seed = Annotated[
    int, typer.Option(min=0, metavar="SEED", help="The seed of the first sample; the next seeds count up.")
]
Seeds = Annotated[str | None, typer.Option(help="All seeds, such as 0,3-9.", metavar="SEEDS")]
Out = Annotated[
    Path | None,
    typer.Option(
        parser=an_output,
        help="A grid (.png), an array (.npz, .npy), a table (.csv, .parquet), or a folder of PNGs. "
        "[default: samples.png or .npz]",
        metavar="PATH",
    ),
]
Interpolate = Annotated[
    str | None, typer.Option(help="Draw the path between the samples of two seeds, in --num steps.", metavar="A,B")
]
ByClass = Annotated[
    str | None, typer.Option("--class", help="A class, or several such as 0-9 or cat,dog.", metavar="C")
]
Given = Annotated[
    list[str] | None, typer.Option("--given", help="The value of a given column.", metavar="COLUMN=VALUE")
]
GivenFrom = Annotated[
    Path | None, typer.Option(parser=a_path, help="A table of given values, one row a sample.", metavar="FILE")
]
Raw = Annotated[bool, typer.Option("--raw", help="The last weights, not the averaged ones.")]


def sample(
    run: Run = None,
    ckpt: Checkpoint = None,
    num: Num = None,
    seed: Seed = 0,
    seeds: Seeds = None,
    out: Out = None,
    interpolate: Interpolate = None,
    classes: ByClass = None,
    given: Given = None,
    given_from: GivenFrom = None,
    raw: Raw = False,
    best: Best = False,
    device: Device = "auto",
) -> None:
    """Draw samples from a trained generator, and print their path."""
    from wgan_cli import sampling
    from wgan_cli.data.places import check_apart
    from wgan_cli.devices import pick_device
    from wgan_cli.runs.loaded import load_run

    target = named_run(run, ckpt)
    _refuse_contradictions(num, seed, seeds, interpolate, classes, given, given_from)
    loaded = load_run(target, pick_device(device), raw=raw, best=best)
    path = out or Path("samples.png" if loaded.config.data.is_image else "samples.npz")
    sampling.check_out(path, loaded)
    if given_from is not None:
        check_apart(path, [str(given_from)], "--out")
    numbers = sampling.parse_classes(classes, loaded) if classes is not None else None
    count = _count(num, numbers, given_from, loaded)
    check_seeds(seed + count - 1, count)
    ends = parse_pair(interpolate) if interpolate is not None else None
    request = sampling.request(loaded, _drawn(seed, seeds, ends, count), numbers, given or (), given_from)
    names, samples = _samples(loaded, request, ends, count)
    if out is None and path.exists():
        log.info("%s: is replaced; --out keeps several", path)
    strip = min(count, sampling.LONGEST_STRIP) if ends is not None else None
    drawn = sampling.Drawn(samples, names, sampling.classes(loaded, request))
    if request.columns is not None and path.suffix == ".png" and loaded.config.data.is_image:
        log.info("%s: its rows are %s", path, ", ".join(dict.fromkeys(drawn.classes or ())))
    sampling.write(drawn, path, loaded, request.columns or strip)
    typer.echo(path)


def _refuse_contradictions(
    num: int | None,
    seed: int,
    seeds: str | None,
    interpolate: str | None,
    classes: str | None,
    given: list[str] | None,
    given_from: Path | None,
) -> None:
    """Refuses options of which one would be ignored."""
    if seeds is not None and (num is not None or seed):
        raise BadInputError("--seeds says which samples and how many; leave out --num and --seed")
    if interpolate is not None and (seeds is not None or seed):
        raise BadInputError("--interpolate A,B names its seeds; leave out --seed and --seeds")
    if sum((classes is not None, bool(given), given_from is not None)) > 1:
        raise BadInputError("--class, --given and --given-from: ask by one of them")
    if given_from is not None and (num is not None or seeds is not None):
        raise BadInputError("--given-from draws one sample a row; leave out --num and --seeds")


def _count(num: int | None, numbers: Sequence[int] | None, given_from: Path | None, loaded: Any) -> int:
    """How many samples are drawn, of each class where several are asked for."""
    from wgan_cli.sampling import given_rows

    if given_from is not None:
        return len(given_rows(given_from, loaded))
    return num or (8 if numbers is not None and len(numbers) > 1 else 64)


def _drawn(seed: int, seeds: str | None, ends: tuple[int, int] | None, count: int) -> Sequence[int]:
    """The seeds that are drawn. The samples between two `ends` have the first of them, which fixes their class."""
    if ends is not None:
        return [ends[0]] * count
    return parse_seeds(seeds) if seeds is not None else range(seed, seed + count)


def _samples(loaded: Any, request: Any, ends: tuple[int, int] | None, count: int) -> tuple[Sequence[str], Any]:
    """Names and samples of a request: of its seeds or, between two `ends`, on the path from one to the other."""
    from wgan_cli.sampling import interpolated

    if ends is not None:
        return interpolated(loaded, *ends, count, request)
    return request.names, loaded.sample(request.seeds, request.condition)
