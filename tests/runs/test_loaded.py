from pathlib import Path

import pytest
import torch

from wgan_cli.config.load import load_config
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.runs.checkpoints import checkpoints, sealed
from wgan_cli.runs.loaded import load_run
from wgan_cli.training.loop import train_run

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose averaged weights differ from the last ones."""
    config = load_config("normal_gp", ["training.iterations=5", "training.average=0.9"])
    return train_run(config, CPU, out=tmp_path_factory.mktemp("runs") / "run", name="x")


@pytest.mark.parametrize("raw", [False, True])
def test_a_seed_gives_the_same_sample_whatever_is_drawn_beside_it(trained: Path, raw: bool) -> None:
    loaded = load_run(str(trained), CPU, raw=raw)
    many = loaded.sample(range(3000))
    assert many.shape == (3000, 1)
    alone = torch.cat([loaded.sample([seed]) for seed in (0, 17, 2999)])
    torch.testing.assert_close(many[[0, 17, 2999]], alone, atol=1e-6, rtol=0)


def test_samples_are_those_of_the_seeds_latents(trained: Path) -> None:
    loaded = load_run(str(trained), CPU)
    latents = loaded.config.latent.from_seeds([3, 1])
    assert torch.equal(loaded.sample([3, 1]), loaded.sample_latents(latents))
    assert torch.equal(loaded.sample([3, 1]), loaded.generator(latents))


def test_raw_weights_are_those_of_the_last_iteration(trained: Path) -> None:
    state = torch.load(checkpoints(trained)[0], weights_only=True)
    raw, average = load_run(str(trained), CPU, raw=True), load_run(str(trained), CPU)
    assert all(torch.equal(value, state["generator"][name]) for name, value in raw.generator.state_dict().items())
    assert any(not torch.equal(v, state["generator"][n]) for n, v in average.generator.state_dict().items())
    assert raw.step == average.step == 5


def test_the_networks_are_in_evaluation_mode(trained: Path) -> None:
    loaded = load_run(str(trained), CPU)
    assert not loaded.generator.training
    assert not loaded.critic.training
    assert loaded.critic(loaded.sample(range(4))).shape == (4,)


def test_one_checkpoint_file_is_a_run(trained: Path) -> None:
    loaded = load_run(str(checkpoints(trained)[-1]), CPU)
    assert loaded.config == load_run(str(trained), CPU).config


def test_weights_that_do_not_fit_their_config_are_refused(trained: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoints(trained)[0], weights_only=True)
    for key in ("config", "generator"):
        (tmp_path / "x.pt").write_bytes(sealed({k: v for k, v in state.items() if k != key}))
        with pytest.raises(BadInputError, match="do not fit its config"):
            load_run(str(tmp_path / "x.pt"), CPU)
    state["config"]["generator"]["hidden"] = [3]
    (tmp_path / "x.pt").write_bytes(sealed(state))
    with pytest.raises(BadInputError, match=r"x\.pt: its weights do not fit its config"):
        load_run(str(tmp_path / "x.pt"), CPU)


def test_a_diverged_generator_gives_no_samples(trained: Path) -> None:
    loaded = load_run(str(trained), CPU)
    with torch.no_grad():
        next(loaded.generator.parameters()).fill_(float("nan"))
    with pytest.raises(WganError, match="samples at iteration 5 are not finite"):
        loaded.sample([0])
