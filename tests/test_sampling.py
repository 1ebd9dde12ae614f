from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wgan_cli.checkpoints import checkpoints, sealed
from wgan_cli.config import load_config
from wgan_cli.errors import BadInputError
from wgan_cli.models import Latent
from wgan_cli.sampling import check_out, draw, interpolated, load_run, parse_seeds, write
from wgan_cli.training import run

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = load_config("normal_gp", ["training.iterations=5", "training.average=0.9"])
    return run(config, CPU, out=tmp_path_factory.mktemp("runs") / "run", name="x")


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0", [0]), ("0,3-5", [0, 3, 4, 5]), ("7, 7", [7, 7]), ("3-3", [3]), (str(2**32 - 1), [2**32 - 1])],
)
def test_seeds_are_numbers_and_ranges(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1,", "-1", "3-", "5-3", "1--2", "1.5", str(2**32), "0-99999999999", "²"])
def test_bad_seeds_are_refused(text: str) -> None:
    with pytest.raises(BadInputError, match=r"seed|samples"):
        parse_seeds(text)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
def test_seeds_survive_being_written_out(seeds: list[int]) -> None:
    assert parse_seeds(",".join(map(str, seeds))) == seeds


@pytest.mark.parametrize("raw", [False, True])
def test_a_seed_gives_the_same_sample_whatever_is_drawn_beside_it(trained: Path, raw: bool) -> None:
    loaded = load_run(str(trained), CPU, raw=raw)
    latent = loaded.config.latent
    many = draw(loaded, latent.from_seeds(range(3000)), CPU)
    alone = torch.cat([draw(loaded, latent.from_seeds([seed]), CPU) for seed in (0, 17, 2999)])
    torch.testing.assert_close(many[[0, 17, 2999]], alone, atol=1e-6, rtol=0)


def test_raw_weights_are_those_of_the_last_iteration(trained: Path) -> None:
    state = torch.load(checkpoints(trained)[0], weights_only=True)
    raw, average = load_run(str(trained), CPU, raw=True), load_run(str(trained), CPU)
    assert all(torch.equal(value, state["generator"][name]) for name, value in raw.generator.state_dict().items())
    assert any(not torch.equal(v, state["generator"][n]) for n, v in average.generator.state_dict().items())
    assert raw.step == average.step == 5


def test_interpolation_begins_and_ends_at_the_seeds() -> None:
    for kind in ("normal", "uniform"):
        latent = Latent.model_validate({"dim": 32, "kind": kind})
        way = interpolated(latent, 3, 7, 9)
        torch.testing.assert_close(way[[0, -1]], latent.from_seeds([3, 7]))
        steps = (way[1:] - way[:-1]).norm(dim=1)
        assert steps.max() / steps.min() < 1.3  # an even pace
        lengths = way.norm(dim=1)
        if kind == "normal":  # the straight line between two normal draws would dip to about 0.7 of their length
            assert lengths.min() > 0.99 * min(lengths[0], lengths[-1])
    assert interpolated(Latent(dim=1), 3, 7, 2).shape == (2, 1)
    assert torch.equal(interpolated(Latent(dim=4), 3, 3, 2)[0], Latent(dim=4).from_seeds([3])[0])


def test_samples_as_an_array(trained: Path, tmp_path: Path) -> None:
    config = load_config("normal_gp")
    samples = torch.randn(7, 1)
    write(samples, [str(i) for i in range(7)], tmp_path / "s.npz", config)
    with np.load(tmp_path / "s.npz") as file:
        assert file["samples"].dtype == np.float32
        assert file["samples"].tolist() == samples.tolist()
        assert file["names"].tolist() == [str(i) for i in range(7)]


def test_images_as_array_grid_and_folder(tmp_path: Path) -> None:
    config = load_config("mnist_gp")
    images = torch.linspace(-1, 1, 4).reshape(4, 1, 1, 1).expand(4, 1, 28, 28)
    names = ["seed000003", "seed000004", "seed000009", "seed000010"]
    for out in ("s.npz", "s.png", "folder"):
        write(images, names, tmp_path / out, config)
    with np.load(tmp_path / "s.npz") as file:
        assert file["samples"].shape == (4, 28, 28, 1)
        assert file["samples"].dtype == np.uint8
        assert file["samples"][:, 0, 0, 0].tolist() == [0, 85, 170, 255]
    assert Image.open(tmp_path / "s.png").size == (62, 62)
    assert sorted(path.stem for path in (tmp_path / "folder").iterdir()) == names
    assert Image.open(tmp_path / "folder" / "seed000009.png").getpixel((0, 0)) == 170


@pytest.mark.parametrize(
    ("out", "message"), [("s.jpg", "must end in"), ("folder", "needs images"), ("no/s.npz", "no folder")]
)
def test_an_ending_that_says_nothing_is_refused(tmp_path: Path, out: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        check_out(tmp_path / out, load_config("normal_gp"))


def test_weights_of_another_shape_are_refused(trained: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoints(trained)[0], weights_only=True)
    for key in ("config", "generator"):
        (tmp_path / "x.pt").write_bytes(sealed({k: v for k, v in state.items() if k != key}))
        with pytest.raises(BadInputError, match="do not fit its config"):
            load_run(str(tmp_path / "x.pt"), CPU)
    state["config"]["generator"]["hidden"] = [3]
    (tmp_path / "x.pt").write_bytes(sealed(state))
    with pytest.raises(BadInputError, match="do not fit its config"):
        load_run(str(tmp_path / "x.pt"), CPU)
