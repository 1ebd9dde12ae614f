import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.export.helpers import KINDS, NETWORKS, inputs_of, untrained
from wgan_cli.data.pixels import Array
from wgan_cli.errors import BadInputError
from wgan_cli.export.facts import public
from wgan_cli.export.formats import check_ending, encoded
from wgan_cli.runs.loaded import LoadedRun, load_run

SIZES = (1, 2, 7, 300)


def check_same(found: Array, loaded: LoadedRun, count: int) -> None:
    """Within one of 255 levels for images, and a hundred-thousandth of the spread for values."""
    expected = loaded.decode(loaded.sample(range(count)))
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if found.dtype == bool:
        assert (found == expected).mean() > 0.999  # but for values at the threshold
    elif loaded.config.data.is_image:
        difference = np.abs(found.astype(int) - expected.astype(int))
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.001  # where a value was half-way between two levels
    else:
        spread = np.ptp(loaded.decode(loaded.sample(range(300))).astype(float), 0)
        off = np.abs(found.astype(float) - expected) > 1e-5 * spread + 1e-12
        whole = (expected == np.rint(expected)).all(0)
        assert not off[:, ~whole].any()
        assert off[:, whole].mean() < 0.001 if whole.any() else True


QUICK = ("a table with given columns", "fields", "images by class", "transposed", "resnet", "uniform latents")
"""What is tried each time; some seconds each, as torch's exporter takes them."""


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case in QUICK else pytest.mark.slow) for case in (*KINDS, *NETWORKS)]
)
def test_onnxruntime_draws_the_samples_of_wgan_sample(case: str, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    loaded = untrained(root, case)
    capfd.readouterr()
    content = encoded(loaded, ".onnx", averaged=True)
    said = capfd.readouterr()
    assert said.out == said.err == ""
    session = onnxruntime.InferenceSession(content)
    for count in SIZES:
        inputs = {name: values.numpy() for name, values in inputs_of(loaded, count).items()}
        (samples,) = session.run(None, inputs)
        check_same(samples, loaded, count)
    text = session.get_modelmeta().custom_metadata_map
    assert (text["step"], text["weights"]) == ("4", "averaged")
    assert json.loads(text["config"]) == public(loaded.config).to_dict()
    assert ("condition" in text) == (loaded.conditions is not None)
    assert "one-hot" in session.get_modelmeta().description


@pytest.mark.parametrize("case", ["a table with given columns", "images by class", "resnet"])
def test_torch_draws_the_samples_of_wgan_sample(case: str, root: Path) -> None:
    loaded = untrained(root, case)
    content = encoded(loaded, ".pt2", averaged=False)
    text = {"wgan.json": ""}
    program = torch.export.load(io.BytesIO(content), extra_files=text).module()
    for count in SIZES:
        check_same(program(*inputs_of(loaded, count).values()).numpy(), loaded, count)
    found = json.loads(text["wgan.json"])
    assert found["config"] == public(loaded.config).to_dict()
    assert (found["step"], found["weights"]) == (4, "last")


def test_a_torch_program_holds_nothing_pickled(root: Path) -> None:
    content = encoded(untrained(root, "a table with given columns"), ".pt2", averaged=False)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert files["archive/data/sample_inputs/model.pt"] == b""
    for name in ("weights", "constants"):
        (config,) = (json.loads(text) for file, text in files.items() if file.endswith(f"model_{name}_config.json"))
        assert config["config"]
        assert not any(entry["use_pickle"] for entry in config["config"].values())


@pytest.mark.parametrize("case", [*KINDS, *NETWORKS])
def test_weights_are_loaded_back_with_equal_samples(case: str, root: Path, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    loaded = untrained(root, case)
    (tmp_path / "g.safetensors").write_bytes(encoded(loaded, ".safetensors", averaged=True))
    again = load_run(str(tmp_path / "g.safetensors"), torch.device("cpu"))
    assert torch.equal(again.sample(range(20)), loaded.sample(range(20)))
    assert np.array_equal(again.decode(again.sample([3])), loaded.decode(loaded.sample([3])))
    assert again.config == public(loaded.config)
    assert again.step == 4
    assert again.generator.training is False


@pytest.mark.parametrize("name", ["g.pt", "g.pth", "g", "g.ONNX"])
def test_another_ending_is_refused(name: str) -> None:
    with pytest.raises(BadInputError, match=rf"--out {name}: must end in \.onnx, \.safetensors or \.pt2"):
        check_ending(Path(name))


@pytest.mark.parametrize(
    ("name", "library"), [("g.onnx", "onnx"), ("g.onnx", "onnxscript"), ("g.safetensors", "safetensors")]
)
def test_a_missing_library_is_named(name: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if library == "onnxscript":
        pytest.importorskip("onnx")
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(BadInputError, match=rf"--out {name}: writing .* needs {library}; pip install 'wgan\[export\]'"):
        check_ending(Path(name))


def test_weights_beyond_what_one_onnx_file_holds_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    monkeypatch.setattr("wgan_cli.export.formats.MOST_BYTES", 100)
    with pytest.raises(BadInputError, match=r"too many for one \.onnx"):
        encoded(untrained(root, "normal"), ".onnx", averaged=False)
