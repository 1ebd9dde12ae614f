"""Facts about data, what is odd about them, and the config line for them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from wgan_cli.data.base import DataSpec
from wgan_cli.data.heldout import split
from wgan_cli.data.images import Images
from wgan_cli.data.picture_cache import MOST_UNREADABLE
from wgan_cli.errors import BadInputError

MOST_COLUMNS = 20
"""Columns of a wider table are not listed one by one."""


@dataclass(frozen=True)
class Survey:
    """Facts about a file or folder, and the data kind that reads it."""

    facts: dict[str, Any]
    spec: DataSpec
    is_told: bool = False
    """Whether the user has told where the channels are."""

    def warnings(self, where: str) -> Iterator[str]:
        """What is odd about the data in `where`, or would be refused by a run."""
        facts = self.facts
        try:
            split(facts["samples"], 0.1, where)
        except BadInputError as error:
            yield str(error)
        if facts.get("unreadable"):
            share = f"a run leaves out {MOST_UNREADABLE:.0%} of all pictures at most"
            yield f"{where}: {facts['unreadable'][0]} can't be read; {share}"
        if facts.get("missing"):
            yield f"{where}: values are missing ({facts['missing']}), which no run takes; fill or remove them"
        if facts.get("columns without numbers"):
            names = ", ".join(facts["columns without numbers"])
            yield f"{where}: columns without numbers are left out by drop: {names}"
        if facts.get("may be classes"):
            first, *others = facts["may be classes"]
            yield f"{where}: labels takes {first} for the class; it could be {' or '.join(others)} as well"
        if facts.get("count up"):
            names = ", ".join(facts["count up"])
            yield f"{where}: {names} counts up from row to row, as an id does, so drop leaves it out"
        shape = facts.get("shape", [])
        if not (len(shape) == 2 and shape[0] != shape[1] and getattr(self.spec, "channels", None) == "first"):
            yield from (f"{where}: {note}" for note in self.notes())  # other series are seldom images

    def notes(self) -> Iterator[str]:
        """How samples are read, where another reading is as probable and none was asked for."""
        if self.is_told:
            return
        shape, layout = self.facts.get("shape", []), getattr(self.spec, "channels", None)
        if isinstance(self.spec, Images):
            _, height, width = self.spec.sample_shape
            if set(self.facts["sizes"]) != {f"{width} x {height}"}:
                yield f"pictures are brought to {width} x {height}; data.size changes that"
        if layout == "first" and len(shape) == 2:
            series = f"{shape[0]} channels of {shape[1]} steps"
            yield f"a sample is read as a series, {series}; channels: none reads it as a grey image"
        if layout == "none":
            yield f"a sample is read as a grey image of {shape[0]} x {shape[1]}; channels: first reads it as a series"
        if len(shape) == 1 and shape[0] > MOST_COLUMNS and not self.facts.get("column names"):
            yield f"a sample is read as {shape[0]} columns of a table; channels: none reads it as a series"

    def yaml_lines(self) -> str:
        """The `data:` line of a config."""
        fields = self.spec.model_dump(mode="json", exclude_defaults=True, exclude={"sample", "columns", "classes"})
        line = yaml.safe_dump({"kind": self.spec.kind, **fields}, default_flow_style=True, sort_keys=False, width=1000)
        return f"data: {line.strip()}"
