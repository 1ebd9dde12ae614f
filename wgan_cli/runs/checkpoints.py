"""Checkpoints: each is one file, complete or absent, protected by a checksum over all its bytes.

The file is a zip archive as torch saves it. Its comment, the last 64 bytes, is the SHA-256 of all bytes before. It
holds only plain containers and tensors, and is read with `weights_only=True`: a file with code is refused, and its code
is never run.
"""

import hashlib
import io
import logging
import re
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wgan_cli import __version__
from wgan_cli.config.load import config_from_dict
from wgan_cli.config.run_config import RunConfig
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.files import flush_folder, load_plain, write_atomically
from wgan_cli.paths import expanded
from wgan_cli.runs.weights import GENERATOR, read_generator

CHECKPOINT_FORMAT = 2
_DIGEST_LENGTH = 64
BEST = "best.pt"
"""The checkpoint of the iteration with the best samples so far, beside the numbered ones."""
log = logging.getLogger("wgan")


def checkpoints(run: Path) -> list[Path]:
    """The run's checkpoint files, newest first."""
    return [path for _, path in sorted(numbered(run / "checkpoints", ".pt").items(), reverse=True)]


def numbered(folder: Path, ending: str) -> dict[int, Path]:
    """The files in a folder whose names are the number of an iteration, by iteration."""
    return {int(path.stem): path for path in folder.glob(f"*{ending}") if re.fullmatch(r"\d{9,}", path.stem)}


class CheckpointWriter:
    """Writes checkpoints on another thread, one at a time, while training continues."""

    def __init__(self, run: Path, config: RunConfig, thread: Executor) -> None:
        self._run, self._config, self._thread = run, config, thread
        self._writing: Future[None] | None = None

    def save(self, state: Mapping[str, Any], step: int, before: Callable[[], None], *, best: bool = False) -> None:
        """Copies `state`, lets the thread write it as the newest checkpoint, and as the best one too, and returns.

        The thread calls `before` first. If an earlier checkpoint is still being written, waits for it, and raises its
        `OSError` if it failed.
        """
        self.wait()
        header = {"format": CHECKPOINT_FORMAT, "wgan": __version__, "step": step, "config": self._config.to_dict()}
        names = [BEST] * best + [f"{step:09d}.pt"]  # in this order: a resumed run does not judge it again
        self._writing = self._thread.submit(self._write, {**header, **copied(state)}, names, before)

    def check(self) -> None:
        """Raises the `OSError` of the last checkpoint, if writing it has failed. Does not wait."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Waits until the last checkpoint is on the disk. Raises its `OSError` if writing it failed."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, state: Mapping[str, Any], names: Sequence[str], before: Callable[[], None]) -> None:
        before()
        content = sealed(state)
        for name in names:
            write_atomically(self._run / "checkpoints" / name, content)
        outdated = checkpoints(self._run)[self._config.output.keep :]
        for old in outdated:
            old.unlink(missing_ok=True)
        if outdated:
            flush_folder(self._run / "checkpoints")


def copied(tree: Any) -> Any:
    """The same containers, with copies of their tensors on the CPU that further training does not change.

    Equal strings become one object. Pickle writes an object only once, so that equal states give equal bytes.
    """
    if isinstance(tree, Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, str):
        return sys.intern(tree)
    if isinstance(tree, Mapping):
        return {copied(key): copied(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(copied(value) for value in tree)
    return tree


def sealed(state: Mapping[str, Any]) -> bytes:
    """The bytes of the checkpoint file of `state`, with the checksum at the end."""
    file = io.BytesIO()
    torch.save(dict(state), file)
    file.seek(-2, io.SEEK_END)  # the length of the archive's comment: none so far
    file.write(struct.pack("<H", _DIGEST_LENGTH))
    content = file.getbuffer()
    return bytes(content) + hashlib.sha256(content).hexdigest().encode()


class FormatError(BadInputError):
    """A whole checkpoint that another version of wgan wrote."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of one checkpoint, on the CPU. Raises `BadInputError` for another file, or a damaged one."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"{path}: can't be read ({error.strerror})") from error
    body = memoryview(content)[:-_DIGEST_LENGTH]
    whole = hashlib.sha256(body).hexdigest().encode() == content[-_DIGEST_LENGTH:]
    state = load_plain(path, content)
    if not isinstance(state, dict) or "format" not in state:
        raise BadInputError(f"{path}: not a checkpoint of wgan")
    if state["format"] != CHECKPOINT_FORMAT:
        raise FormatError(
            f"{path}: has checkpoint format {state['format']}, but this wgan reads {CHECKPOINT_FORMAT}; "
            f"use wgan {state.get('wgan')}, which wrote it"
        )
    if not whole:
        raise BadInputError(f"{path}: damaged: its checksum does not match its content")
    return state


def read_newest(run: Path) -> dict[str, Any] | None:
    """The newest whole checkpoint of a run; None if the run has none. A warning names each damaged one that is skipped.

    Raises `WganError` if all are damaged.
    """
    damaged = None
    for path in checkpoints(run):
        try:
            return read_checkpoint(path)
        except FormatError:
            raise  # whole, but of another version: an older checkpoint must not take its place
        except WganError as error:
            log.warning("%s; trying an older one", error)
            damaged = error
    if damaged is not None:
        raise WganError(f"{run}: none of its checkpoints can be read; the last tried: {damaged}")
    return None


def find_checkpoint(target: str, *, best: bool = False) -> dict[str, Any]:
    """The checkpoint in the file `target`, or the newest one in the run folder `target`, or its best one.

    Of an exported generator, a .safetensors file, it is what such a file holds. Raises `WganError`.
    """
    path = expanded(target)
    if path.is_file():
        if best:
            raise BadInputError(f"--best: {target} is one checkpoint; name the folder of its run")
        return read_generator(path) if path.suffix == GENERATOR else read_checkpoint(path)
    if not path.is_dir():
        raise BadInputError(f"{target}: no such run folder or checkpoint file")
    if best:
        if not (path / "checkpoints" / BEST).exists():
            raise BadInputError(
                f"--best: {target} has no checkpoints/{BEST}: no grid was drawn yet, or nothing is held out to judge by"
            )
        return read_checkpoint(path / "checkpoints" / BEST)
    try:
        state = read_newest(path)
    except WganError as error:
        if not (path / "checkpoints" / BEST).exists():
            raise
        raise WganError(f"{error}; --best reads that of the best samples") from error
    if state is None:
        raise BadInputError(f"{target}: holds no checkpoint (checkpoints/*.pt); name a run's folder or its file")
    return state


def checkpoint_config(state: Mapping[str, Any], source: str) -> RunConfig:
    """The config of the run that wrote the checkpoint `state`; `source` names the checkpoint in messages."""
    return config_from_dict(state["config"], source)
