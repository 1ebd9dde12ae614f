"""The formats of exported generators. The libraries write them: torch, onnx and safetensors.

- `.onnx` is for onnxruntime and every other runtime of ONNX: a graph with its weights, and the facts as its metadata.
- `.pt2` is for `torch.export.load`: a graph as JSON, the weights as raw bytes, the facts as the extra file `wgan.json`.
  wgan's files hold nothing pickled. `torch.export.load` would unpickle what another's file holds, so load only files
  that you trust; wgan itself never reads one.
- `.safetensors` is for `wgan sample`: the weights, and config, iteration and data state as JSON (see `runs.weights`).
"""

import copy
import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.export import Dim

from wgan_cli.errors import BadInputError
from wgan_cli.export.facts import facts, public
from wgan_cli.export.generator import exported
from wgan_cli.runs.loaded import LoadedRun
from wgan_cli.runs.weights import generator_bytes

_NEEDED = {".onnx": ("onnx", "onnxscript"), ".safetensors": ("safetensors",), ".pt2": ()}
ENDINGS = tuple(_NEEDED)
MOST_BYTES = (1 << 31) - (1 << 20)
"""Of the weights in an .onnx file: protobuf's messages end at 2 GiB."""


def check_ending(path: Path) -> None:
    """Raises `BadInputError` for an ending that is no format, or whose libraries are missing."""
    if path.suffix not in ENDINGS:
        raise BadInputError(f"--out {path}: must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    for library in _NEEDED[path.suffix]:
        try:
            importlib.import_module(library)
        except ImportError as error:
            what = f"writing {path.suffix} needs {library}; pip install 'wgan[export]'"
            raise BadInputError(f"--out {path}: {what}") from error


def encoded(loaded: LoadedRun, ending: str, *, averaged: bool) -> bytes:
    """The bytes of the file of a run's generator in the format of this ending."""
    return _WRITERS[ending](loaded, "averaged" if averaged else "last")


def _onnx(loaded: LoadedRun, weights: str) -> bytes:
    import onnx

    size = sum(value.nbytes for value in loaded.generator.state_dict().values())
    if size > MOST_BYTES:
        raise BadInputError(f"--out: {size / 2**30:.1f} GiB of weights are too many for one .onnx; use .safetensors")
    module, inputs = exported(loaded)
    with _traced():
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=["samples"],
            dynamic_shapes={name: {0: Dim.DYNAMIC} for name in inputs},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    found = facts(loaded, weights).items()
    text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in found}
    onnx.helper.set_model_props(model, text)
    model.doc_string = module.__class__.__doc__ or ""
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _pt2(loaded: LoadedRun, weights: str) -> bytes:
    module, inputs = exported(loaded)
    module = copy.deepcopy(module).to(memory_format=torch.contiguous_format)  # torch warns of weights stored otherwise
    with _traced():
        shapes = {name: {0: Dim.DYNAMIC} for name in inputs}
        program = torch.export.export(module, tuple(inputs.values()), dynamic_shapes=shapes)
    program.example_inputs = None  # torch would pickle them
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={"wgan.json": json.dumps(facts(loaded, weights), indent=2)})
    return file.getvalue()


def _safetensors(loaded: LoadedRun, weights: str) -> bytes:
    state = loaded.generator.state_dict()
    averaged = weights == "averaged"
    return generator_bytes(state, public(loaded.config), loaded.step, loaded.data_state, averaged=averaged)


@contextmanager
def _traced() -> Iterator[None]:
    """Without gradients, as in sampling, and without the exporters' notes to those who develop them."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


_WRITERS: dict[str, Callable[[LoadedRun, str], bytes]] = {
    ".onnx": _onnx,
    ".safetensors": _safetensors,
    ".pt2": _pt2,
}
