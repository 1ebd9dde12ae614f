"""Arrays of the user's own: tables, series, images, fields and volumes, from files of numbers."""

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from wgan_cli.data.array_files import CHUNK, Layout, SampleFiles
from wgan_cli.data.array_labels import class_names, has_labels, is_file, labels_of, numbered
from wgan_cli.data.base import Dataset, DataSpec
from wgan_cli.data.decoders import Unscaled
from wgan_cli.data.finite import FiniteDataset, Store
from wgan_cli.data.heldout import Heldout, apart, split
from wgan_cli.data.mapped import read_no_further
from wgan_cli.data.sample_files import check_columns, check_distinct
from wgan_cli.data.scaling import ScaleName, Scaling, statistics, typed
from wgan_cli.data.table import EXACT
from wgan_cli.data.tables import TABLES
from wgan_cli.devices import free_memory
from wgan_cli.errors import BadInputError
from wgan_cli.paths import ending, expanded

log = logging.getLogger("wgan")
Array = NDArray[Any]


class Arrays(DataSpec):
    """Samples from files of numbers: vectors (D,), series (C, T), images and fields (C, H, W), volumes (C, D, H, W)."""

    kind: Literal["arrays"] = "arrays"
    path: str | tuple[str, ...]
    """A .npy, .npz, .pt, .csv, .tsv or .parquet file with one sample a row, or several such files."""
    key: str | None = None
    """The array of an .npz file; absent: `samples`, or the only one."""
    labels: str | None = None
    """The classes: another array of the .npz file, with a whole number or text a sample; a column of the table; or a
    .npy file."""
    drop: tuple[str, ...] = ()
    """Columns of the table that are left out, such as text."""
    channels: Layout = "first"
    """Where a sample's channels are: (C, H, W) or (H, W, C); `none`: there is one, as in grey images (H, W)."""
    scale: ScaleName = "standardise"
    """By column or channel, undone when sampling: to mean 0 and spread 1, to [-1, 1] (`minmax`), or not at all."""
    heldout: Heldout = 0.1
    """The share of samples that training never sees, a fixed draw of at least 2; or a file of them."""
    resident: Literal["auto"] | bool = "auto"
    """Whether the samples stay in the device's memory; `auto`: if they fit. Else a thread reads them as needed."""
    sample: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    """The shape of one sample as the file has it. Absent: read from the file."""
    columns: tuple[str, ...] | None = None
    """The names of the columns. Absent: read from the file, where it has some."""
    classes: tuple[str, ...] | None = None
    """The names of the classes. Absent: the values of `labels`."""

    location_keys = frozenset({"path", "heldout", "resident", "labels"})

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,) if isinstance(self.path, str) else self.path

    @property
    def places(self) -> tuple[str, ...]:
        labels = [self.labels] if self.labels and is_file(self.labels) else []
        return (*self.paths, *labels, *([self.heldout] if isinstance(self.heldout, str) else []))

    def resolved(self) -> Self:
        if not self.paths:
            raise BadInputError("path: must name a file, or several")
        if self.sample is not None and (self.labels is None or self.classes is not None):
            check_dimensions(_with_channel(self.sample, self.channels), self.paths[0])
            return self  # from a checkpoint, or a run's config: the files may be elsewhere by now
        if self.classes is not None and self.labels is None:
            raise BadInputError("classes: need labels, the array that has the class of each sample")
        if self.key is not None and not any(ending(path) == ".npz" for path in self.paths):
            raise BadInputError(f"{self.paths[0]}: a key is for .npz files alone; leave it out")
        self._check_columns()
        files = self._open(self.paths)
        sample = files.sample
        check_dimensions(_with_channel(sample, self.channels), self.paths[0])
        if (self.channels == "last" and len(sample) == 1) or (self.channels == "none" and sample == (1,)):
            told = f"channels: {self.channels} has no meaning for {self.paths[0]}, whose samples are plain values"
            raise BadInputError(told)
        if self.columns is not None and (len(self.columns),) != sample:
            raise BadInputError(f"columns: names {len(self.columns)}, but the samples of {self.paths[0]} are {sample}")
        check_distinct(self.columns or (), "columns")
        absolute = tuple(str(expanded(path).absolute()) for path in self.paths)
        found: dict[str, Any] = {"sample": sample, "path": absolute[0] if isinstance(self.path, str) else absolute}
        if self.columns is None:
            found["columns"] = files.names
        if self.labels is not None:
            if self.class_column is not None:
                check_distinct((*(self.columns or files.names or ()), self.class_column), "columns and labels")
            found["classes"] = class_names(labels_of(files, self.labels))
            if self.classes is not None and self.classes != found["classes"]:
                own = ", ".join(found["classes"][:20])
                raise BadInputError(f"classes: must be those of labels, {own}; leave them out")
            if is_file(self.labels):
                found["labels"] = str(expanded(self.labels).absolute())
        if isinstance(self.heldout, str):
            found["heldout"] = str(expanded(self.heldout).absolute())
        return self.model_copy(update=found)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        assert self.sample is not None, "resolved() comes first"
        if self._layout == "last":
            return (self.sample[-1], *self.sample[:-1])
        return _with_channel(self.sample, self.channels)

    @property
    def is_bounded(self) -> bool:
        return self.scale == "minmax"

    @property
    def value_names(self) -> tuple[str, ...] | None:
        return self.columns if len(self.sample_shape) == 1 else None

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes or ()

    @property
    def class_column(self) -> str | None:
        return self.labels if self.labels and ending(self.paths[0]) in TABLES and not is_file(self.labels) else None

    def decoded(self, samples: Tensor, state: Mapping[str, Any]) -> Array:
        values = Scaling.from_state(state["scaling"]).unscaled(samples)
        if self._layout == "none":
            return values[:, 0]
        return np.moveaxis(values, 1, -1) if self._layout == "last" else values

    def decoded_columns(self, samples: Tensor, state: Mapping[str, Any]) -> list[Array]:
        columns = super().decoded_columns(samples, state)
        types = state.get("types") or [values.dtype for values in columns]
        if any(ending(path) in (".csv", ".tsv") for path in self.paths) and "ranges" in state:
            whole = Scaling.from_state(state["scaling"]).whole  # a .csv has no types: these are what they look like
            exact = [max(map(abs, limits)) <= EXACT for limits in state["ranges"]]
            types = [np.int64 if w and e else name for w, e, name in zip(whole, exact, types, strict=True)]
        return [typed(values, np.dtype(name)) for values, name in zip(columns, types, strict=True)]

    def decoder(self, state: Mapping[str, Any]) -> nn.Module:
        return Unscaled(Scaling.from_state(state["scaling"]), self.sample_shape, self._layout)

    @property
    def _layout(self) -> Layout:
        """That of samples; plain values have no channels."""
        assert self.sample is not None, "resolved() comes first"
        return "first" if self.channels == "last" and len(self.sample) == 1 else self.channels

    def load(self, device: torch.device) -> Dataset:
        files = self._open(self.paths)
        if files.sample != self.sample:
            raise BadInputError(
                f"{self.paths[0]}: its samples have shape {files.sample}, where data.sample is {self.sample}"
            )
        digest = hashlib.blake2b(digest_size=16)
        found = statistics(files.chunks(digest.update), self.paths[0])
        scaling = Scaling.fit(self.scale, found, files.dtype)
        self._warn_of_constants(scaling)
        if isinstance(self.heldout, str):
            others = self._open((self.heldout,), files)
            others.check()
            chosen, other_chosen = apart(len(files), len(others), self.heldout)
        else:
            others = files
            chosen, other_chosen = split(len(files), self.heldout, self.paths[0])
        labels = self._labels(files, chosen, device)
        if labels is not None:
            digest.update(labels.cpu().numpy().tobytes())
        resident = self._fits(len(files), device) if self.resident == "auto" else self.resident
        store = _Rows(files, chosen, scaling).store(device, resident)
        heldout = _Rows(others, other_chosen, scaling).store(device, resident)
        state = {
            "scaling": scaling.state_dict(),
            "ranges": np.stack([found.least, found.greatest], 1).tolist(),
            "samples": len(chosen),
            "digest": digest.hexdigest(),
        }
        if files.types is not None:
            state["types"] = files.types
        other_labels = self._labels(others, other_chosen, device, may_lack=others is not files)
        return FiniteDataset(store, "data.path", heldout, labels, other_labels, state)

    def _labels(
        self, files: SampleFiles, chosen: Array, device: torch.device, *, may_lack: bool = False
    ) -> Tensor | None:
        """The classes (n,) of the chosen samples. A file of held-out samples may have none."""
        if self.labels is None or (may_lack and not has_labels(files, self.labels)):
            return None
        try:
            labels = numbered(labels_of(files, self.labels), self.class_names, str(files.opened[0].path))
        except BadInputError as error:
            if not may_lack:
                raise
            log.warning("data.heldout: %s; held-out samples have no classes", error)
            return None
        return torch.from_numpy(labels[chosen]).to(device)

    def _open(self, paths: Sequence[str], like: SampleFiles | None = None) -> SampleFiles:
        drop = self.drop if self.labels is None else (*self.drop, self.labels)
        return SampleFiles.open([expanded(path) for path in paths], self.key, self.channels, like, drop)

    def _check_columns(self) -> None:
        """Raises `BadInputError` for a column in `drop` or `labels` that there is not."""
        for path in map(expanded, self.paths):
            if self.drop:
                check_columns(path, self.drop, f"drop: {path}")
            if self.class_column is not None:
                check_columns(path, [self.class_column], f"labels: {path}")

    def _fits(self, count: int, device: torch.device) -> bool:
        return 4 * count * math.prod(self.sample_shape) < free_memory(device) / 4

    def _warn_of_constants(self, scaling: Scaling) -> None:
        for i in np.flatnonzero(scaling.scale == 0)[:10]:
            name = self.columns[i] if self.columns else str(i + 1)
            log.warning("data.path: column or channel %s is constant; every sample gets %g", name, scaling.shift[i])


def _with_channel(sample: tuple[int, ...], channels: Layout) -> tuple[int, ...]:
    return (1, *sample) if channels == "none" else sample


def check_dimensions(sample: Sequence[int], path: str | Path) -> None:
    """Refuses samples of a shape that no kind of network makes."""
    if not 1 <= len(sample) <= 4:
        raise BadInputError(f"{path}: its samples have {len(sample)} dimensions; 1 to 4 are possible")


@dataclass(frozen=True)
class _Rows:
    """Some of the samples of files, scaled."""

    files: SampleFiles
    chosen: Array
    scaling: Scaling

    def gather(self, indices: Tensor) -> Tensor:
        """The samples of these indices (n,) among the chosen ones: (n, C, ...) on the CPU."""
        return self.scaling.scaled(self.files.rows(self.chosen[indices.cpu().numpy()]))

    def gather_later(self, indices: Tensor) -> Tensor:
        """As `gather`, while a run goes on."""
        self.files.check_unchanged()
        self.files.read_together(self.chosen[indices.cpu().numpy()])
        return self.gather(indices)

    def store(self, device: torch.device, resident: bool) -> Store:
        if not resident:
            for array in self.files.arrays:
                read_no_further(array)
            return Store(self.gather_later, len(self.chosen), device, is_resident=False)
        step = max(1, CHUNK // math.prod(self.files.sample))
        none = self.gather(torch.arange(0))
        samples = none.new_empty(len(self.chosen), *none.shape[1:], device=device)
        for part in torch.arange(len(self.chosen)).split(step):
            samples[part] = self.gather(part).to(device)  # in place: to join parts takes twice their memory
        return Store.of(samples)
