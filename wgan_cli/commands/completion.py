"""What a shell offers to complete. Nothing here imports torch: a shell asks at each press of its key.

Each function takes the word so far, and returns the words that it may become. Where there are none, the shell offers
files.
"""

from contextlib import suppress
from pathlib import Path

from wgan_cli.config import shipped
from wgan_cli.errors import BadInputError
from wgan_cli.paths import expanded
from wgan_cli.runs.places import holds_run, near_runs

METHODS = ("exact", "sinkhorn", "sliced", "gaussian", "1d", "critic", "bounds")
DEVICES = ("auto", "cpu", "cuda", "mps")


def shipped_names(word: str) -> list[tuple[str, str]]:
    """The configs that come with wgan, with their titles."""
    return [(name, shipped.title(name)) for name in shipped.names() if name.startswith(word)]


def config_names(word: str) -> list[tuple[str, str]]:
    """The configs that come with wgan, and YAML files."""
    typed, folder = _typed_folder(word)
    files = sorted(path.name for ending in ("*.yaml", "*.yml") for path in folder.glob(ending) if path.is_file())
    return [(typed + name, "a file") for name in files if (typed + name).startswith(word)] + shipped_names(word)


def run_folders(word: str) -> list[str]:
    """The folders of runs."""
    typed, folder = _typed_folder(word)
    found = (typed + path.relative_to(folder).as_posix() for path in near_runs(folder))
    return [name for name in found if name.startswith(word)]


def runs_or_checkpoints(word: str) -> list[str]:
    """The folders of runs and, after a run and a slash, its checkpoints, the newest first."""
    run = word.rpartition("/")[0].removesuffix("/checkpoints")
    if not run or not holds_run(_expanded(run)):
        return run_folders(word)
    files = sorted((_expanded(run) / "checkpoints").glob("*.pt"), reverse=True)
    return [name for file in files if (name := f"{run}/checkpoints/{file.name}").startswith(word)]


def methods(word: str) -> list[str]:
    """The methods of `wgan distance`."""
    return [name for name in METHODS if name.startswith(word)]


def devices(word: str) -> list[str]:
    """The devices that torch computes on."""
    return [name for name in DEVICES if name.startswith(word)]


def _typed_folder(word: str) -> tuple[str, Path]:
    """The folder in a word, as it was typed (with its last slash) and as a path."""
    typed = word[: word.rfind("/") + 1]
    return typed, _expanded(typed or ".")


def _expanded(path: str) -> Path:
    with suppress(BadInputError):  # ~name of a user who is not here, or whose name is not complete
        return expanded(path)
    return Path(path)
