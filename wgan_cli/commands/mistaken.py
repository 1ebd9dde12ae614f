"""Names that are mistaken for those of a config or a run: what they name instead, and the command that is meant."""

import itertools
import shlex
from pathlib import Path

from wgan_cli.config import shipped
from wgan_cli.errors import BadInputError
from wgan_cli.paths import argument, ending, expanded
from wgan_cli.runs.places import holds_run, near_runs

DATA = (".csv", ".npy", ".npz", ".parquet", ".tsv", ".zip")
"""The endings of files that hold data alone; a .pt may be a checkpoint."""
CONFIGS = (".yaml", ".yml")
EXPORTS = (".onnx", ".pt2")


def refuse_no_config(name: str) -> None:
    """Raises `BadInputError` if `name` is a run, a folder of runs, or a file of data, where a config is meant."""
    path = expanded(name)
    if name in shipped.names():
        return
    if path.is_dir():
        if holds_run(path):
            again = _line("train", path / "config.yaml", "--out", path, "--resume")
            raise BadInputError(f"{name}: is a run, no config; {again} goes on with it")
        _refuse_folder_of_runs(name, path)
    elif ending(path) in DATA and path.is_file():
        raise BadInputError(f"{name}: holds data, no config; {_line('init', '--data', path)} writes one that fits")


def refuse_no_samples(name: str) -> None:
    """Raises `BadInputError` if `name` is a run where a set of samples is meant."""
    path = expanded(name)
    if path.is_dir() and holds_run(path):
        meant = f"{_line('evaluate', path)} measures it, {_line('sample', path, '--out', 'x.npz')} draws samples"
        raise BadInputError(f"{name}: is a run, no set of samples; {meant}")
    if path.is_dir():
        _refuse_folder_of_runs(name, path)


def refuse_no_run(name: str) -> None:
    """Raises `BadInputError` if `name` is a folder of runs, a config, or a file of data, where a run is meant."""
    path = expanded(name)
    if path.is_dir():
        _refuse_folder_of_runs(name, path)
    elif path.name == "config.yaml" and holds_run(path.parent):
        raise BadInputError(f"{name}: is the config of a run; name the run's folder, {path.parent}")
    elif (ending(path) in CONFIGS and path.is_file()) or (name in shipped.names() and not path.exists()):
        raise BadInputError(f"{name}: is a config, no run; {_line('train', path)} trains one, `wgan runs` lists runs")
    elif ending(path) in EXPORTS and path.is_file():
        raise BadInputError(f"{name}: is a generator for other programs; name its run, or a .safetensors file")
    elif ending(path) in DATA and path.is_file():
        raise BadInputError(f"{name}: holds data, no run; {_line('distance', path, 'OTHER')} compares it with others")


def refuse_no_space(name: str) -> None:
    """Raises `BadInputError` if `name` is a config where the space of a search is meant."""
    if name in shipped.names() and not expanded(name).exists():
        keys = f"config: {name}, objective: truth/w1 and space: {{training.n_critic: {{choices: [1, 5]}}}}"
        raise BadInputError(f"{name}: is a config; a search needs a YAML file with keys such as {keys}")


def refuse_no_path_of_data(name: str) -> None:
    """Raises `BadInputError` if `name` is a kind of data where a file or folder of samples is meant."""
    from wgan_cli.data import KINDS

    if name in [spec.model_fields["kind"].default for spec in KINDS] and not expanded(name).exists():
        raise BadInputError(f"{name}: is a kind of data, no file or folder; configs have it as data: {{kind: {name}}}")


def _refuse_folder_of_runs(name: str, path: Path) -> None:
    if holds_run(path) or (path / "checkpoints").is_dir() or (path / "metrics.jsonl").is_file():
        return  # a run, or what is left of one
    found = list(itertools.islice(near_runs(path), 3))
    if found:
        some = f"name one of them, such as {' or '.join(map(str, found))}"
        raise BadInputError(f"{name}: is a folder of runs; {some}: {_line('runs', path)} lists all")


def _line(*words: str | Path) -> str:
    """A command line to copy."""
    return f"`{shlex.join(['wgan', *(argument(word) if isinstance(word, Path) else word for word in words)])}`"
