"""The files of an export: the generator and, if wanted, a model card with a picture of samples beside it."""

from os.path import realpath
from pathlib import Path

from wgan_cli.errors import BadInputError, WganError
from wgan_cli.export.card import Source, card
from wgan_cli.export.formats import check_ending, encoded
from wgan_cli.files import write_atomically
from wgan_cli.paths import expanded
from wgan_cli.plots.style import write_png
from wgan_cli.runs.loaded import LoadedRun


def check_out(out: Path, card_path: Path | None, target: str) -> None:
    """Raises `BadInputError` for paths that `write` should not or can't write, before anything is exported.

    A card is a text that people go on with, so an existing one is never replaced.
    """
    check_ending(out)
    _check_folder("--out", out)
    if realpath(out) == realpath(expanded(target)):  # `Path.resolve` raises an error of its own for links in a circle
        raise BadInputError(f"--out {out}: is the file to export; name another")
    if card_path is None:
        return
    if card_path.suffix != ".md":
        raise BadInputError(f"--card {card_path}: must end in .md, such as README.md")
    _check_folder("--card", card_path)
    for path in (card_path, _picture_path(card_path)):
        if path.exists():
            raise BadInputError(f"--card {card_path}: {path} exists; move it away, or name another card")


def _check_folder(option: str, path: Path) -> None:
    if path.is_dir():
        raise BadInputError(f"{option} {path}: is a folder; name a file in it")
    if not path.parent.is_dir():
        raise BadInputError(f"{option} {path}: there is no folder {path.parent}; make it first")


def _picture_path(card_path: Path) -> Path:
    return card_path.with_name(f"{card_path.stem}-samples.png")


def write(loaded: LoadedRun, target: str, out: Path, card_path: Path | None, *, raw: bool = False) -> None:
    """Writes the generator of the run or checkpoint `target` to `out`, in the format of its ending, and its card.

    `raw` says that `loaded` has the weights of its last iteration. Raises `WganError` if a file can't be written.
    """
    averaged = loaded.config.training.average is not None and not raw
    content = encoded(loaded, out.suffix, averaged=averaged)
    path = out
    try:
        write_atomically(out, content)
        if card_path is not None:
            path = _picture_path(card_path)
            write_png(path, loaded.picture())
            source = Source.of(target, averaged=averaged or loaded.config.training.average is None)
            text = card(loaded, "averaged" if averaged else "last", source, out.name, path.name)
            path = card_path
            write_atomically(card_path, text.encode())
    except OSError as error:
        raise WganError(f"{path}: can't be written ({error.strerror})") from error
