from pathlib import Path

import pytest
import torch

from wgan_cli.config.load import load_config
from wgan_cli.errors import BadInputError
from wgan_cli.runs.loaded import load_run
from wgan_cli.runs.weights import generator_bytes, read_generator

safetensors = pytest.importorskip("safetensors.torch")
CPU = torch.device("cpu")
STATE = {
    "samples": 7,
    "scaling": {"shift": [0.1, 1e-300], "dtype": "float32"},
    "condition": {"names": ["a", "b"], "rows": torch.randn(5, 2), "scale": torch.tensor([0.1, 3e-200]).double()},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    config = load_config("normal_gp")
    torch.manual_seed(3)
    weights = config.networks().generator.state_dict()
    path = tmp_path / "g.safetensors"
    path.write_bytes(generator_bytes(weights, config, 12, STATE, averaged=False))
    return path


def test_all_comes_back_to_the_bit(file: Path) -> None:
    state = read_generator(file)
    torch.manual_seed(3)
    weights = load_config("normal_gp").networks().generator.state_dict()
    assert state["generator"].keys() == weights.keys()
    assert all(torch.equal(weight, state["generator"][name]) for name, weight in weights.items())
    assert (state["step"], state["weights"]) == (12, "last")
    assert state["config"] == load_config("normal_gp").to_dict()
    condition = state["data"].pop("condition")
    assert state["data"] == {name: value for name, value in STATE.items() if name != "condition"}
    assert condition["names"] == ["a", "b"]
    for name in ("rows", "scale"):
        assert torch.equal(condition[name], STATE["condition"][name])
        assert condition[name].dtype == STATE["condition"][name].dtype


def test_every_flipped_byte_is_found(file: Path) -> None:
    content = file.read_bytes()
    for place in range(0, len(content), len(content) // 199):
        damaged = bytearray(content)
        damaged[place] ^= 0x04
        file.write_bytes(damaged)
        with pytest.raises(BadInputError, match=r"g\.safetensors: .*(damaged|not a|has format)"):
            read_generator(file)
    for length in (0, 7, 100, len(content) - 1):
        file.write_bytes(content[:length])
        with pytest.raises(BadInputError, match="truncated"):
            read_generator(file)


def test_weights_of_others_are_refused(tmp_path: Path) -> None:
    safetensors.save_file({"x": torch.zeros(2)}, tmp_path / "x.safetensors", {"wgan": "no"})
    with pytest.raises(BadInputError, match="not a generator that wgan exported"):
        load_run(str(tmp_path / "x.safetensors"), CPU)


def test_the_critic_and_other_weights_are_missing(file: Path) -> None:
    loaded = load_run(str(file), CPU)
    with pytest.raises(BadInputError, match="holds a generator without its critic"):
        _ = loaded.critic
    with pytest.raises(BadInputError, match="--best"):
        load_run(str(file), CPU, best=True)
    load_run(str(file), CPU, raw=True)  # they are the last ones


def test_averaged_weights_are_not_the_last_ones(tmp_path: Path) -> None:
    config = load_config("normal_gp", ["training.average=0.9"])
    weights = config.networks().sampler.state_dict()
    (tmp_path / "g.safetensors").write_bytes(generator_bytes(weights, config, 1, {}, averaged=True))
    assert load_run(str(tmp_path / "g.safetensors"), CPU).step == 1
    with pytest.raises(BadInputError, match=r"--raw: .* holds the averaged weights alone"):
        load_run(str(tmp_path / "g.safetensors"), CPU, raw=True)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    weights = load_config("normal_gp").networks().generator.state_dict()
    other = load_config("normal_gp", ["generator={kind: mlp, hidden: [3]}"])
    (tmp_path / "g.safetensors").write_bytes(generator_bytes(weights, other, 1, {}, averaged=False))
    with pytest.raises(BadInputError, match="do not fit its config"):
        load_run(str(tmp_path / "g.safetensors"), CPU)
