"""The commands. Only this room uses Typer, prints results and exits.

Each command imports the rooms that need torch when it runs, so that help and listings answer at once.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from wgan_cli import __version__
from wgan_cli.config import shipped
from wgan_cli.errors import BadInputError, ExitCode, WganError, is_out_of_memory

# The base class of usage errors. Newer versions of Typer contain their own click, so it is not imported from click.
_UsageError: Any = typer.BadParameter.__base__

app = typer.Typer(
    name="wgan",
    help="Train Wasserstein GANs from one YAML file, and know how true the critic's estimate is.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps, ...", metavar="DEVICE")]
Best = Annotated[bool, typer.Option("--best", help="The run's best checkpoint, not the newest one.")]
Checkpoint = Annotated[str, typer.Option("--ckpt", help="A run's folder, or one checkpoint file.", metavar="RUN|FILE")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wgan {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Train Wasserstein GANs from one YAML file, and know how true the critic's estimate is."""


@app.command()
def train(
    config: Annotated[str, typer.Option(help="A YAML file, or the name of a shipped config.", metavar="FILE|NAME")],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Set one key, such as training.iterations=10. Can be repeated.",
            metavar="KEY=VALUE",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The run's folder. [default: runs/NAME-NNNN, a new number]", metavar="DIR"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out, if there is one.")] = False,
    device: Device = "auto",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the resolved config with sizes and shapes, and write nothing."),
    ] = False,
) -> None:
    """Train from a config, and print the run's folder."""
    if resume and out is None:
        raise BadInputError("--resume needs --out DIR, the folder of the run to go on with")
    from wgan_cli.config.load import load_config
    from wgan_cli.training.distributed import find_world, joined

    world = find_world()
    resolved = load_config(config, overrides or (), world.size)
    for warning in resolved.warnings():
        logging.getLogger("wgan").warning(warning)
    from wgan_cli.devices import pick_device

    chosen = pick_device(device, world.local_rank if world.size > 1 else None)
    if dry_run:
        if world.is_first:
            _describe(resolved)
        return
    from wgan_cli.training.loop import train_run

    with joined(world, chosen):
        path = train_run(
            resolved,
            chosen,
            out=out and out.expanduser(),
            name=Path(config).stem,
            resume=resume,
            world=world,
            process_ends=True,
        )
    if world.is_first:
        typer.echo(path)


def _describe(resolved: Any) -> None:
    """Prints the YAML of a run, and the sizes and shapes of its networks as comments."""
    import torch

    from wgan_cli.networks.base import parameter_count

    batch = resolved.training.batch_size
    with torch.device("meta"):  # without memory, so that networks of any size can be described
        networks = resolved.networks()
    sizes = "x".join(map(str, (batch, *resolved.sample_shape)))
    width = resolved.condition.width(resolved.data) if resolved.condition else 0
    inputs = f"{batch}x{resolved.latent.dim + width}"
    typer.echo(resolved.to_yaml(), nl=False)
    typer.echo(f"# generator: {parameter_count(networks.generator):,} parameters, {inputs} -> {sizes}")
    typer.echo(f"# critic: {parameter_count(networks.critic):,} parameters, {sizes} -> {batch}")


@app.command()
def sample(
    ckpt: Checkpoint,
    num: Annotated[int | None, typer.Option(min=1, help="The number of samples. [default: 64]")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the first sample; the next seeds count up.")] = 0,
    seeds: Annotated[str | None, typer.Option(help="All seeds, such as 0,3-9.", metavar="SEEDS")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A grid (.png), an array (.npz), or a folder of PNGs. [default: samples.png or .npz]"),
    ] = None,
    interpolate: Annotated[
        str | None,
        typer.Option(help="Draw the path between the samples of two seeds, in --num steps.", metavar="A,B"),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option("--class", help="A class, or several such as 0-9 or cat,dog.", metavar="C"),
    ] = None,
    given: Annotated[
        list[str] | None, typer.Option("--given", help="The value of a given column.", metavar="COLUMN=VALUE")
    ] = None,
    given_from: Annotated[
        Path | None, typer.Option(help="A table of given values, one row a sample.", metavar="FILE")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="The last weights, not the averaged ones.")] = False,
    best: Best = False,
    device: Device = "auto",
) -> None:
    """Draw samples from a trained generator, and print their path."""
    from wgan_cli import sampling
    from wgan_cli.devices import pick_device
    from wgan_cli.runs.loaded import load_run

    if seeds is not None and (num is not None or seed):
        raise BadInputError("--seeds says which samples and how many; leave out --num and --seed")
    if interpolate is not None and (seeds is not None or seed):
        raise BadInputError("--interpolate A,B names its seeds; leave out --seed and --seeds")
    if sum((classes is not None, bool(given), given_from is not None)) > 1:
        raise BadInputError("--class, --given and --given-from: ask by one of them")
    loaded = load_run(ckpt, pick_device(device), raw=raw, best=best)
    path = (out and out.expanduser()) or Path("samples.png" if loaded.config.data.is_image else "samples.npz")
    sampling.check_out(path, loaded)
    if given_from is not None:
        given_from = given_from.expanduser()
        if num is not None or seeds is not None:
            raise BadInputError("--given-from draws one sample a row; leave out --num and --seeds")
        num = sampling.given_rows(given_from)
    numbers = sampling.parse_classes(classes, loaded) if classes is not None else None
    count = num or (8 if numbers is not None and len(numbers) > 1 else 64)
    _check_seeds(seed + count - 1, count)
    if interpolate is not None:
        first, last = _parse_pair(interpolate)
        drawn: Sequence[int] = [first] * count
    else:
        drawn = _parse_seeds(seeds) if seeds is not None else range(seed, seed + count)
    request = sampling.request(loaded, drawn, numbers, given or (), given_from)
    if interpolate is not None:
        names, samples = sampling.interpolated(loaded, first, last, count, request)
    else:
        names, samples = request.names, loaded.sample(request.seeds, request.condition)
    sampling.write(samples, names, path, loaded, request.columns)
    typer.echo(path)


MOST_SEEDS = 10_000_000


def _parse_seeds(text: str) -> list[int]:
    """`0,3-5` is [0, 3, 4, 5]."""
    ranges = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise BadInputError(f"--seeds {text}: {part!r} is no seed; write numbers and ranges, such as 0,3-9")
        ranges.append(range(int(first), int(last or first) + 1))
    if any(not seeds for seeds in ranges):
        raise BadInputError(f"--seeds {text}: a range goes from its smaller number to its larger, such as 3-9")
    _check_seeds(max(seeds[-1] for seeds in ranges), sum(seeds[-1] - seeds[0] + 1 for seeds in ranges))
    return [seed for seeds in ranges for seed in seeds]


def _parse_pair(text: str) -> tuple[int, int]:
    """`3,7` is (3, 7): the two seeds of `--interpolate`."""
    first, _, last = text.partition(",")
    if not (first.strip().isdecimal() and last.strip().isdecimal()):
        raise BadInputError(f"--interpolate {text}: must name two seeds, such as 3,7")
    _check_seeds(max(int(first), int(last)), 2)
    return int(first), int(last)


def _check_seeds(largest: int, count: int) -> None:
    if largest >= 2**32:  # torch's generator on the CPU uses no more
        raise BadInputError(f"--seed {largest}: is too large; seeds are below 2**32")
    if count > MOST_SEEDS:
        raise BadInputError(f"{count:,} samples are too many for one file ({MOST_SEEDS:,} at most); draw them in parts")


@app.command()
def evaluate(
    ckpt: Checkpoint,
    num: Annotated[int, typer.Option(min=2, help="The number of generated samples, and of real ones.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the first sample; it also selects the real ones.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw generated samples beside real ones: a .png file.", metavar="FILE")
    ] = None,
    nearest: Annotated[
        Path | None,
        typer.Option(help="Draw the samples nearest to training samples beside these: a .png file.", metavar="FILE"),
    ] = None,
    best: Best = False,
    device: Device = "auto",
) -> None:
    """Measure a trained generator against real samples, each figure beside its floor."""
    from wgan_cli.devices import pick_device
    from wgan_cli.evaluation.figures import closest, scene
    from wgan_cli.evaluation.figures import evaluate as evaluate_run
    from wgan_cli.runs.loaded import load_run

    _check_seeds(seed + num - 1, num)
    plot, nearest = _checked_png(plot), _checked_png(nearest, "--nearest")
    loaded = load_run(ckpt, pick_device(device), best=best)
    pairs = closest(loaded, num, seed) if nearest is not None else None
    figures = evaluate_run(loaded, num, seed)
    try:
        _keep_evaluation(figures, Path(ckpt).expanduser())
        if plot is not None:
            _write_picture(scene(loaded, num, seed), plot)
        if nearest is not None:
            _write_picture(pairs, nearest)
    finally:  # a closed pipe must not cost the files, nor a full disk the figures
        _print_figures(figures, as_json)


def _keep_evaluation(figures: dict[str, float], run: Path) -> None:
    """Writes the figures into the folder of the run, if `run` is one."""
    from wgan_cli import files
    from wgan_cli.runs.readers import holds_run

    path = run / "evaluation.json"
    if holds_run(run):
        try:
            files.write_atomically(path, json.dumps(figures, indent=2, allow_nan=False).encode() + b"\n")
        except OSError as error:
            raise WganError(f"{path}: can't be written ({error.strerror})") from error


def _checked_png(path: Path | None, option: str = "--plot") -> Path | None:
    """The path of a picture, which must be a .png in a folder that exists."""
    if path is None:
        return None
    path = path.expanduser()
    if path.suffix != ".png":
        raise BadInputError(f"{option} {path}: must end in .png")
    if not path.parent.is_dir():
        raise BadInputError(f"{option} {path}: there is no folder {path.parent}; make it first")
    return path


def _write_picture(scene: Any, path: Path) -> None:
    from wgan_cli.plots.samples import picture
    from wgan_cli.plots.style import write_png

    try:
        write_png(path, picture(scene))
    except OSError as error:
        raise WganError(f"{path}: can't be written ({error.strerror})") from error


def _print_figures(figures: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(figures, allow_nan=False))
        return
    ends = {name for name in figures if name.endswith(("_ci_low", "_ci_high"))}
    width = max(len(name) for name in figures if name not in ends)
    for name, value in figures.items():
        if name in ends:
            continue
        text = f"{value:.6g}" if isinstance(value, float) else value
        if f"{name}_ci_low" in ends:
            text = f"{text:<11}  {figures[f'{name}_ci_low']:.6g} to {figures[f'{name}_ci_high']:.6g}"
        typer.echo(f"{name:{width}}  {text}")


@app.command()
def distance(
    a: Annotated[
        str, typer.Argument(help="Samples: .npy, .npz, .pt, .csv, or a dataset such as mnist:test.", metavar="A")
    ],
    b: Annotated[str, typer.Argument(help="Samples to compare with.", metavar="B")],
    method: Annotated[
        str, typer.Option(help="exact, sinkhorn, sliced, gaussian, 1d, critic or bounds.", metavar="METHOD")
    ] = "exact",
    p: Annotated[float, typer.Option("--p", min=1, help="The order p of W_p, with costs ‖x − y‖^p.")] = 1,
    epsilon: Annotated[
        float | None, typer.Option(help="Sinkhorn's blur, in the unit of the cost. [default: mean cost / 100]")
    ] = None,
    num: Annotated[int, typer.Option(min=1, help="The most samples of each set; --seed selects them.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the selection, the directions and the critic.")] = 0,
    config: Annotated[
        str | None,
        typer.Option(help="YAML of the critic for critic, bounds: critic, lipschitz, ...", metavar="FILE"),
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="Of each limit of --method bounds. [default: 0.95]", min=0.5, max=0.999999)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw costs and plan (exact, sinkhorn): .png, .svg, .pdf.", metavar="FILE")
    ] = None,
) -> None:
    """Measure the distance between two sets of samples."""
    import torch

    from wgan_cli.evaluation import distances
    from wgan_cli.evaluation.critic_fit import load_fits
    from wgan_cli.evaluation.points import read_points
    from wgan_cli.plots.plan import plan_figure
    from wgan_cli.plots.style import check_path, save
    from wgan_cli.transport.confidence import CONFIDENCE

    if config is not None and method not in ("critic", "bounds"):
        raise BadInputError("--config: is for --method critic or bounds")
    if confidence is not None and method != "bounds":
        raise BadInputError("--confidence: is for --method bounds")
    if plot is not None:
        if method not in distances.WITH_PLAN:
            raise BadInputError(f"--plot: {method} has no plan to draw; use {' or '.join(distances.WITH_PLAN)}")
        plot = plot.expanduser()
        check_path(plot, "--plot")
    generator = torch.Generator().manual_seed(seed)
    x, y = (read_points(source, num, generator) for source in (a, b))
    problem = distances.Problem(
        x,
        y,
        p=p,
        epsilon=epsilon,
        seed=seed,
        fits=load_fits(config),
        confidence=confidence or CONFIDENCE,
        with_plan=plot is not None,
    )
    found = distances.measure(problem, method)
    try:
        if plot is not None and found.plan is not None:
            save(plan_figure(x, y, found.plan, p), plot)
    finally:
        sizes = {"samples": [len(x), len(y)], "features": x.shape[1]}
        _print_figures({"method": method, **sizes, **found.figures}, as_json)


@app.command()
def data(
    path: Annotated[Path, typer.Argument(help="A file of samples, a folder of pictures, or a .zip.", metavar="PATH")],
    key: Annotated[str | None, typer.Option(help="The array of an .npz file.", metavar="NAME")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw some samples: a .png file.", metavar="FILE")] = None,
) -> None:
    """Show what a file or folder holds, and the config line to train on it."""
    from wgan_cli.data.survey import survey

    plot = _checked_png(plot)
    found = survey(path.expanduser(), key)
    try:
        if plot is not None:
            _write_picture(_data_scene(found.spec), plot)
    finally:
        if as_json:
            typer.echo(json.dumps({**found.facts, "config": found.yaml_lines()}, allow_nan=False))
        else:
            _print_facts(found.facts)
            typer.echo(f"\n{found.yaml_lines()}")


def _data_scene(spec: Any) -> Any:
    """Some samples of the data, for a picture."""
    import torch

    from wgan_cli.plots.samples import Scene

    resolved = spec.resolved()
    dataset = resolved.load(torch.device("cpu"))
    state = dataset.state_dict()
    shown = dataset.real(64 if resolved.is_image else 2000, torch.Generator().manual_seed(0), heldout=False)
    return Scene(shown, resolved, lambda samples: resolved.decoded(samples, state), is_real=True)


def _print_facts(facts: dict[str, Any]) -> None:
    width = max(map(len, facts))
    for name, value in facts.items():
        if isinstance(value, dict) and value and all(isinstance(row, dict) for row in value.values()):
            typer.echo(f"{name}:")
            for row, cells in value.items():
                typer.echo(f"  {row}: " + ", ".join(f"{key} {_short(cell)}" for key, cell in cells.items()))
        elif isinstance(value, dict):
            typer.echo(f"{name:{width}}  " + ", ".join(f"{key}: {count:,}" for key, count in value.items()))
        elif isinstance(value, list):
            typer.echo(f"{name:{width}}  " + (", ".join(map(_short, value)) or "-"))
        else:
            typer.echo(f"{name:{width}}  {value:,}" if isinstance(value, int) else f"{name:{width}}  {value}")


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@app.command()
def plot(
    runs: Annotated[list[Path], typer.Argument(help="The folders of runs, drawn in one picture.", metavar="RUN...")],
    out: Annotated[Path, typer.Option(help="The picture: .png, .svg or .pdf.", metavar="FILE")] = Path("plot.png"),
) -> None:
    """Draw what runs logged, with samples of each, and print where the picture is."""
    from wgan_cli.plots.curves import curves_figure
    from wgan_cli.plots.style import check_path, save
    from wgan_cli.runs.curves import read_curves

    out = out.expanduser()
    check_path(out, "--out")
    save(curves_figure(read_curves([run.expanduser() for run in runs])), out)
    typer.echo(out)


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="The folder to search.", metavar="[FOLDER]")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """List the runs below a folder, with their iterations, states and figures."""
    from wgan_cli.runs.listing import summaries

    found, faults = summaries(folder.expanduser())
    for fault in faults:
        logging.getLogger("wgan").warning(fault)
    if as_json:
        typer.echo(json.dumps({"runs": [run.to_dict() for run in found]}, allow_nan=False))
        return
    head = ("run", "iteration", "state", "gap", "W1 estimate", "truth", "it/s", "last written (UTC)")
    rows = [head] + [
        (
            run.name,
            f"{run.step:,} / {run.iterations:,}",
            run.state,
            *(_cell(value) for value in (run.gap, run.w1, run.truth, run.iterations_per_second)),
            run.last_written.removesuffix("+00:00").replace("T", " "),
        )
        for run in found
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        typer.echo("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


@app.command()
def configs(
    name: Annotated[str | None, typer.Argument(help="The config to print.", metavar="[NAME]")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a config, for editors.")] = False,
) -> None:
    """List the configs that come with wgan, or print one."""
    if schema:
        if name is not None:
            raise BadInputError(f"--schema: is of every config; leave {name} out")
        from wgan_cli.config.run_config import RunConfig

        typer.echo(json.dumps(RunConfig.model_json_schema(), indent=2, ensure_ascii=False))
    elif name is not None:
        typer.echo(shipped.read(name), nl=False)
    else:
        width = max(map(len, shipped.names()))
        for each in shipped.names():
            typer.echo(f"{each:{width}}  {shipped.title(each)}")


def main() -> None:
    """Runs the command. This is the only error boundary: a user's mistake ends in a line on stderr and an exit code,
    never in a traceback."""
    if sys.stderr is None:  # as after `2>&-`; bars and logs have somewhere to go
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - open until the process ends
    _set_up_logging()
    threading.excepthook = _report_thread_failure
    try:
        code = app(standalone_mode=False, prog_name="wgan")
        if code == 130:  # Typer's code for Ctrl-C before a run has begun
            typer.echo("wgan: interrupted", err=True)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, so that a closed pipe raises its error here and not at exit
        elif not code and not _is_training():  # a run is what training was asked for; of the others it is the output
            typer.echo("wgan: can't write the result to stdout, which is closed", err=True)
            code = ExitCode.RUN_FAILED
    except WganError as error:
        code = _report(error)
    except _UsageError as error:
        code = _report_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("wgan: interrupted", err=True)
        code = 128 + 2  # the shell's code for SIGINT; nothing was saved
    except BrokenPipeError:  # the reader has ended, as in `wgan configs | head -1`
        _discard_stdout()
        code = 128 + 13
    except OSError as error:
        if error.filename is None:  # only an error of stdout has no file name: rooms name their files
            _discard_stdout()
        what = "can't write the result to stdout" if error.filename is None else error.filename
        typer.echo(f"wgan: {what} ({error.strerror})", err=True)
        code = ExitCode.RUN_FAILED
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        typer.echo("wgan: out of memory; take fewer or smaller samples, or a machine with more", err=True)
        code = ExitCode.RUN_FAILED
    sys.exit(code)


def _rank() -> str:
    """The rank of this process if it trains, else 0: tasks of other commands are independent, and each prints."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) if _is_training() else "0"


def _is_training() -> bool:
    return sys.argv[1:2] == ["train"]


def _set_up_logging() -> None:
    """Prints log messages to stderr. Ranks other than the first print only errors."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("wgan: %(message)s"))
    logging.getLogger("wgan").handlers = [handler]
    logging.getLogger("wgan").setLevel(logging.INFO if _rank() == "0" else logging.ERROR)


def _report(error: WganError) -> ExitCode:
    """Prints the message, one line per fault. Only the first rank prints an error that all ranks raise."""
    rank = _rank()
    if rank == "0" or not error.on_all_ranks:
        where = "" if rank == "0" else f"rank {rank}: "
        for line in str(error).splitlines():
            typer.echo(f"wgan: {where}{line}", err=True)
    return error.exit_code


def _report_usage(error: Any) -> ExitCode:
    command = error.ctx.command_path if error.ctx else "wgan"
    message = error.format_message()
    is_help = type(error).__name__ == "NoArgsIsHelpError"  # `wgan` alone
    typer.echo(message if is_help else f"{command}: {message} (see `{command} --help`)", err=True)
    return ExitCode.BAD_INPUT


def _report_thread_failure(failure: threading.ExceptHookArgs) -> None:
    """Prints the traceback of an error in a thread, except an OSError: the run raises that when it writes next."""
    if not issubclass(failure.exc_type, OSError):
        threading.__excepthook__(failure)


def _discard_stdout() -> None:
    """Discards the rest of stdout's buffer, so that Python's exit does not fail on it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
