"""What a file or folder holds, as a run would read it, and the config lines for it."""

from collections.abc import Sequence
from pathlib import Path

from wgan_cli.data.array_files import Layout
from wgan_cli.data.picture_files import ENDINGS as PICTURES
from wgan_cli.data.sample_files import check_columns
from wgan_cli.data.survey.arrays import survey_array
from wgan_cli.data.survey.facts import Survey
from wgan_cli.data.survey.pictures import picture_shape, survey_pictures
from wgan_cli.errors import BadInputError
from wgan_cli.paths import ending

__all__ = ["Survey", "picture_shape", "survey"]


def survey(path: Path, key: str | None = None, channels: Layout | None = None, drop: Sequence[str] = ()) -> Survey:
    """Reads a file of samples, a folder of pictures, or a .zip of one. Raises `BadInputError` for anything else.

    `channels` says where those of arrays are; None for the place that their shape and type suggest. Of a table, the
    columns `drop` are left out.
    """
    if not path.exists():
        raise BadInputError(f"{path}: no such file or folder")
    if ending(path) in PICTURES and path.is_file():
        raise BadInputError(f"{path}: is one picture; name the folder or .zip of all, such as {path.parent}")
    if path.is_dir() or ending(path) == ".zip":
        if key is not None:
            raise BadInputError(f"{path}: --key is for .npz files alone; leave it out")
        if channels is not None:
            raise BadInputError(f"{path}: --channels is for arrays; leave it out for pictures")
        if drop:
            raise BadInputError(f"{path}: --drop is for tables; leave it out for pictures")
        return survey_pictures(path)
    if drop:
        check_columns(path, drop, f"--drop {','.join(drop)}: {path}")
    return survey_array(path, key, channels, drop)
