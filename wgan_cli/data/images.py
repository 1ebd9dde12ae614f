"""Pictures of the user's own, in a folder or a .zip."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from wgan_cli.data.base import Dataset, DataSpec
from wgan_cli.data.finite import FiniteDataset, Store
from wgan_cli.data.heldout import Heldout, Indices, apart, split
from wgan_cli.data.mapped import read_no_further, read_together
from wgan_cli.data.picture_cache import Decoded, classes_of, decode_pictures, labels_of
from wgan_cli.data.picture_files import open_pictures
from wgan_cli.data.pixels import scale
from wgan_cli.devices import free_memory
from wgan_cli.errors import BadInputError
from wgan_cli.paths import expanded

Side = Annotated[int, Field(ge=1, le=4096)]


class Images(DataSpec):
    """Pictures in a folder, at any depth, or in a .zip: PNG, JPEG, WebP, BMP and TIFF, scaled to [-1, 1]."""

    kind: Literal["images"] = "images"
    path: str
    """The folder or .zip. Folders at its first level of several are classes, if all pictures are in some."""
    size: Side | tuple[Side, Side]
    """The side of a square, or [height, width]: pictures are cropped to the centre and resized with antialiasing."""
    channels: Literal[1, 3, 4] = 3
    """Grey, colour, or colour and transparency."""
    heldout: Heldout = 0.1
    """The share of pictures that training never sees, a fixed draw of at least 2; or a folder or .zip of them."""
    resident: Literal["auto"] | bool = "auto"
    """Whether the pictures stay in the device's memory; `auto`: if they fit. Else a thread reads them as needed."""

    classes: tuple[str, ...] | None = None
    """The names of the classes. Absent: read from the folders."""

    location_keys = frozenset({"path", "heldout", "resident"})

    @property
    def places(self) -> tuple[str, ...]:
        return (self.path, self.heldout) if isinstance(self.heldout, str) else (self.path,)

    def resolved(self) -> Self:
        if self.classes is not None:
            return self  # from a checkpoint, or a run's config: the files may be elsewhere by now
        with open_pictures(expanded(self.path)) as pictures:
            classes = classes_of(list(pictures.stamps))
        _refuse_other_than_text(classes, self.path)
        found: dict[str, Any] = {"path": str(expanded(self.path).absolute()), "classes": classes}
        if isinstance(self.heldout, str):
            found["heldout"] = str(expanded(self.heldout).absolute())
        return self.model_copy(update=found)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        height, width = (self.size, self.size) if isinstance(self.size, int) else self.size
        return (self.channels, height, width)

    @property
    def is_image(self) -> bool:
        return True

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes or ()

    def load(self, device: torch.device) -> Dataset:
        pictures = decode_pictures(Path(self.path), self.sample_shape)
        if isinstance(self.heldout, str):
            others, where = decode_pictures(Path(self.heldout), self.sample_shape), self.heldout
            chosen, other_chosen = apart(len(pictures.pixels), len(others.pixels), where)
        else:
            others, where = pictures, self.path
            chosen, other_chosen = split(len(pictures.pixels), self.heldout, where)
        fits = pictures.pixels.nbytes < free_memory(device) / 4
        resident = fits if self.resident == "auto" else self.resident
        return FiniteDataset(
            _store(pictures, chosen, device, resident),
            "data.path",
            _store(others, other_chosen, device, resident),
            self._labels(pictures, chosen, self.path, device),
            self._labels(others, other_chosen, where, device, may_lack=others is not pictures),
            state={"samples": len(chosen), "digest": pictures.digest},
        )

    def _labels(
        self, pictures: Decoded, chosen: Indices, path: str, device: torch.device, *, may_lack: bool = False
    ) -> Tensor | None:
        labels = labels_of(pictures.names, self.class_names, path, may_lack=may_lack)
        return None if labels is None else torch.from_numpy(labels[chosen]).to(device)


def _refuse_other_than_text(classes: tuple[str, ...], path: str) -> None:
    for name in classes:
        try:
            name.encode()
        except UnicodeEncodeError as error:  # the run could be trained, but its config not be read again
            raise BadInputError(f"{path}: the name of the folder {name!r} is not UTF-8; rename it") from error


def _store(pictures: Decoded, chosen: Indices, device: torch.device, resident: bool) -> Store:
    if resident:
        return Store.of(torch.from_numpy(pictures.pixels[chosen]).to(device))

    def gather(indices: Tensor) -> Tensor:
        rows = chosen[indices.cpu().numpy()]
        read_together(pictures.pixels, rows)
        return scale(torch.from_numpy(pictures.pixels[rows]))

    read_no_further(pictures.pixels)
    return Store(gather, len(chosen), device, is_resident=False)
