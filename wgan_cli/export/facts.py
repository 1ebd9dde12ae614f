"""What the file of an exported generator says of itself, in plain containers."""

from typing import Any

import torch

from wgan_cli import __version__
from wgan_cli.config.run_config import RunConfig
from wgan_cli.export.generator import exported
from wgan_cli.runs.loaded import LoadedRun

LAWS = {"normal": "independent N(0, 1)", "uniform": "independent U(-1, 1)"}


def facts(loaded: LoadedRun, weights: str) -> dict[str, Any]:
    """The version, iteration and config of the run, which `weights` it has, and what goes in and comes out.

    For a run with a condition, `condition` says how it is encoded (see `ExportedGenerator`).
    """
    config, conditions = public(loaded.config), loaded.conditions
    module, inputs = exported(loaded)
    with torch.no_grad():
        samples = module(*inputs.values())
    sizes = {name: ["N", *values.shape[1:]] for name, values in {**inputs, "samples": samples}.items()}
    found: dict[str, Any] = {
        "wgan": __version__,
        "step": loaded.step,
        "weights": weights,
        "latents": {"shape": sizes["latents"], "type": "float32", "law": LAWS[config.latent.kind]},
        "samples": {"shape": sizes["samples"], "type": str(samples.dtype).removeprefix("torch.")},
        "config": config.to_dict(),
    }
    names = config.data.value_names
    if names:
        found["samples"]["columns"] = list(names)
    return found if conditions is None else found | {"condition": conditions.encoding()}


def public(config: RunConfig) -> RunConfig:
    """The config with the names of the data's files, but not of the folders above them: those are the user's own."""
    data = config.data
    places = {key: getattr(data, key) for key in data.location_keys}
    return config.model_copy(update={"data": data.model_copy(update={k: _last(v) for k, v in places.items()})})


def _last(place: Any) -> Any:
    """The last name of a path, or of each of several; other values as they are."""
    if isinstance(place, tuple):
        return tuple(map(_last, place))
    return place.replace("\\", "/").rstrip("/").rpartition("/")[2] if isinstance(place, str) else place
