"""What a file of numbers holds."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wgan_cli.data.array_files import CHUNK, Array, Layout
from wgan_cli.data.array_labels import class_columns, read_labels, text_columns_of, usual_labels
from wgan_cli.data.arrays import Arrays, check_dimensions
from wgan_cli.data.sample_files import SampleFile, open_samples
from wgan_cli.data.survey.facts import MOST_COLUMNS, Survey
from wgan_cli.errors import BadInputError
from wgan_cli.paths import ending

FEWEST_TO_COUNT = 20
"""A column of fewer rows may count up by chance."""
SMALLEST_IMAGE = 8
"""The side of a grey image; bytes of fewer rows are taken for a series."""


def survey_array(path: Path, key: str | None, channels: Layout | None, drop: Sequence[str]) -> Survey:
    """Of a file of samples, as `survey` reads it. Raises `BadInputError`."""
    if key is not None and ending(path) != ".npz":
        raise BadInputError(f"{path}: --key is for .npz files alone; leave it out")
    texts = [name for name in text_columns_of(path) if name not in drop]
    candidates = class_columns(path, texts)
    file = open_samples(path, key, lambda name: name not in (*texts, *drop))
    counting = _counting(file)
    if counting:
        file = open_samples(path, key, lambda name: name not in (*texts, *drop, *counting))
    sample = file.sample
    check_dimensions(sample, path)
    if channels == "last" and len(sample) == 1:
        raise BadInputError(f"{path}: --channels last: has no meaning for samples that are plain values")
    facts = _facts(file, sample)
    others = [name for name in texts if name not in candidates[:1]]
    facts |= {"columns without numbers": others} if others else {}
    facts |= {"may be classes": candidates} if len(candidates) > 1 else {}
    facts |= {"count up": counting} if counting else {}
    layout = _layout(sample, file.values.dtype) | ({} if channels is None else {"channels": channels})
    spec = Arrays(
        path=str(path), key=key, sample=sample, columns=file.names, drop=(*drop, *others, *counting), **layout
    )
    labels = next(iter(candidates), None) or usual_labels(path, key, len(file.values))
    if labels is None:
        return Survey(facts, spec, channels is not None)
    values, counts = np.unique(read_labels(path, labels), return_counts=True)
    facts["classes"] = dict(zip(map(str, values.tolist()), counts.tolist(), strict=True))
    labelled = spec.model_copy(update={"labels": labels, "classes": tuple(facts["classes"])})
    return Survey(facts, labelled, channels is not None)


def _facts(file: SampleFile, sample: tuple[int, ...]) -> dict[str, Any]:
    """Of all values, and of each column if there are not too many."""
    values = file.values
    low, high, missing = _range(values)
    facts: dict[str, Any] = {
        "kind": "arrays",
        "samples": len(values),
        "shape": list(sample),
        "type": str(values.dtype),
        "missing": missing,
    }
    if low <= high:
        facts["range"] = [low, high]
    if len(sample) == 1 and sample[0] <= MOST_COLUMNS:
        columns = values.reshape(len(values), -1)
        names = file.names or [f"x{i + 1}" for i in range(sample[0])]
        facts["columns"] = {name: _column(columns[:, i].astype(np.float64)) for i, name in enumerate(names)}
    elif file.names is not None:
        facts["column names"] = list(file.names)
    return facts


def _layout(sample: tuple[int, ...], dtype: np.dtype[Any]) -> dict[str, Any]:
    """The fields that say how an array is meant, where its shape and type leave little doubt: bytes are images."""
    fields: dict[str, Any] = {}
    if len(sample) == 3 and sample[-1] in (1, 3, 4) and sample[0] not in (1, 3, 4):
        fields["channels"] = "last"
    if len(sample) == 2 and dtype == np.uint8 and min(sample) >= SMALLEST_IMAGE:
        fields["channels"] = "none"
    if len(sample) > 1 and dtype == np.uint8:
        fields["scale"] = "minmax"
    return fields


def _range(values: Array) -> tuple[float, float, int]:
    """The least and greatest of the finite values, and how many others there are; reads some at a time."""
    low, high, missing = math.inf, -math.inf, 0
    step = max(1, CHUNK // math.prod(values.shape[1:]))
    for start in range(0, len(values), step):
        chunk = values[start : start + step]
        finite = chunk[np.isfinite(chunk)]
        missing += chunk.size - finite.size
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return low, high, missing


def _counting(file: SampleFile) -> list[str]:
    """The columns of a table that seem to be ids, beside others that are none."""
    values = file.values
    if file.names is None or len(values) < FEWEST_TO_COUNT:
        return []
    found = [name for i, name in enumerate(file.names) if _counts_up(values[:, i])]
    return found if len(found) < len(file.names) else []


def _counts_up(values: Array) -> bool:
    """Whether the values (N,) are whole numbers of which each is larger than the one before."""
    with np.errstate(invalid="ignore"):  # of missing values
        return bool((values == np.rint(values)).all() and (values[1:] > values[:-1]).all())


def _column(values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return {"missing": len(values)}
    return {
        "mean": float(finite.mean()),
        "std": float(finite.std()),
        "least": float(finite.min()),
        "greatest": float(finite.max()),
        "missing": len(values) - len(finite),
        "whole": bool((finite == np.rint(finite)).all()),
    }
