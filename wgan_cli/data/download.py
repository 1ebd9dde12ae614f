"""Downloads of published files into a folder that may be the user's own."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from wgan_cli.files import creations, locked


def fetch_files(
    folder: Path, missing: Callable[[], Sequence[str]], mirrors: Sequence[str], md5: Mapping[str, str]
) -> None:
    """Downloads the `missing` files. Each is checked against `md5` before it is moved into `folder`.

    One process downloads at a time; the others wait and then find the files there. Raises `OSError` if that fails, and
    removes the folders that it created.
    """
    with creations() as made:
        made.folder(folder)
        with locked(folder.parent / ".download.lock", made):
            for name in missing():  # again, as another process may have fetched them
                _download(name, folder, mirrors, md5[name])


def _download(name: str, folder: Path, mirrors: Sequence[str], md5: str) -> None:
    from torchvision.datasets.utils import download_url

    faults = []
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
        for mirror in mirrors:
            try:
                download_url(f"{mirror}{name}", scratch, name, md5)
            except (OSError, RuntimeError) as error:  # URLError is an OSError; a bad checksum a RuntimeError
                faults.append(f"{mirror}: {error}")
            else:
                shutil.move(Path(scratch) / name, folder / name)
                return
    raise OSError("; ".join(faults))
