"""`import wgan_cli`: what Python programs and notebooks use."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import wgan_cli as wgan_package
from tests.conftest import Wgan

TINY = ["training.iterations=2", "training.batch_size=8", "training.average=0.9"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    return wgan_package.train(wgan_package.load_config("normal_gp", TINY), out, device="cpu")


def test_importing_it_does_not_import_torch() -> None:
    code = "import sys, wgan_cli; print('torch' in sys.modules, wgan_cli.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.stdout.split() == ["False", wgan_package.__version__]


def test_all_names_exist() -> None:
    assert all(hasattr(wgan_package, name) for name in wgan_package.__all__)


def test_a_config_is_loaded_by_name_or_path(tmp_path: Path) -> None:
    config = wgan_package.load_config("normal_gp", ["training.iterations=500"])
    assert config.training.iterations == 500
    (tmp_path / "mine.yaml").write_text(config.to_yaml())
    assert (
        wgan_package.load_config(tmp_path / "mine.yaml")
        == wgan_package.load_config(str(tmp_path / "mine.yaml"))
        == config
    )


def test_a_run_is_trained_and_loaded(trained: Path) -> None:
    run = wgan_package.load_run(trained, device="cpu")
    assert run.config == wgan_package.load_config("normal_gp", TINY)
    assert run.step == 2
    samples = run.sample(range(10))
    assert samples.shape == (10, 1)
    assert run.critic(samples).shape == (10,)
    assert not torch.equal(samples, wgan_package.load_run(trained, device="cpu", raw=True).sample(range(10)))


def test_a_run_shows_itself_in_a_notebook_as_its_samples(trained: Path) -> None:
    run = wgan_package.load_run(trained, device="cpu")
    shown = Image.open(io.BytesIO(run._repr_png_()))  # the name that IPython asks for
    assert np.array_equal(np.asarray(shown), run.picture())
    assert shown.size == (600, 400)
    assert repr(run) == "LoadedRun(normal, iteration 2, on cpu)"


def test_a_run_with_classes_shows_a_row_of_each(made_up_mnist: Path, tmp_path: Path) -> None:
    small = ["generator={kind: mlp, hidden: [8]}", "critic={kind: mlp, hidden: [8]}", f"data.root={made_up_mnist}"]
    config = wgan_package.load_config("mnist_labels_gp", [*TINY, *small])
    run = wgan_package.load_run(wgan_package.train(config, tmp_path / "run", device="cpu"), device="cpu")
    grid = run.picture()
    assert grid.shape[0] == 10 * 30 + 2
    names = grid.shape[1] - (8 * 30 + 2)
    assert names > 0
    grid = grid[:, names:]
    (seven,) = run.decode(run.sample([3], run.conditions.encode(torch.tensor([7]))))
    assert np.array_equal(grid[7 * 30 + 2 : 8 * 30, 3 * 30 + 2 : 4 * 30, :1], seven)
    assert np.array_equal(run.decode(run.sample([3], "7"))[0], seven)
    assert torch.allclose(run.sample(4, 7)[3], run.sample([3], "7")[0], atol=1e-6)
    with pytest.raises(wgan_package.BadInputError, match="seven: unknown; the run's classes are 0, 1"):
        run.sample(4, "seven")


def test_samples_of_a_table_are_asked_for_by_their_given_values(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(200, 2)) * (1, 5) + (0, 50)
    np.savetxt(tmp_path / "t.csv", table, delimiter=",", header="x,energy", comments="")
    more = ["condition={kind: columns, names: [energy]}", f"data={{kind: arrays, path: {tmp_path / 't.csv'}}}"]
    run = wgan_package.load_run(
        wgan_package.train(wgan_package.load_config("table_gp", [*TINY, *more]), tmp_path / "run", device="cpu")
    )
    assert run.decode(run.sample(3, {"energy": 51.25}))[:, 1] == pytest.approx(51.25)
    for condition, message in (({"mass": 1.0}, "columns are energy"), ({}, "energy is missing"), ("51", "a mapping")):
        with pytest.raises(wgan_package.BadInputError, match=message):
            run.sample(3, condition)


def test_without_conditions_none_can_be_asked_for(trained: Path) -> None:
    run = wgan_package.load_run(trained, device="cpu")
    for three in (3, np.int64(3), [0, 1, 2], np.arange(3), torch.arange(3)):
        assert torch.equal(run.sample(three), run.sample(range(3)))
    with pytest.raises(wgan_package.BadInputError, match="trained without conditions; 'cat' can't be asked for"):
        run.sample(3, "cat")


def test_a_run_goes_on_with_resume(tmp_path: Path) -> None:
    for iterations in (2, 4):
        config = wgan_package.load_config("normal_gp", [*TINY, f"training.iterations={iterations}"])
        assert wgan_package.train(config, tmp_path / "run", resume=True, device="cpu") == tmp_path / "run"
        assert wgan_package.load_run(tmp_path / "run").step == iterations


def test_runs_without_a_folder_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = wgan_package.load_config("normal_gp", TINY)
    Path("mine.yaml").write_text(config.to_yaml())
    assert wgan_package.train(config, device="cpu") == Path("runs/run-0001")
    assert wgan_package.train("mine.yaml", device="cpu") == Path("runs/mine-0001")


@pytest.mark.parametrize("convert", [torch.tensor, np.array, list])
def test_the_distance_of_a_shift_is_its_length(convert: type) -> None:
    values = [[0.0, 0.0], [1.0, 5.0], [2.0, -3.0]]
    shifted = [[x + 3, y + 4] for x, y in values]
    assert wgan_package.distance(convert(values), convert(shifted))["w1"] == pytest.approx(5)
    assert wgan_package.distance(convert(values), convert(shifted), p=2)["w2"] == pytest.approx(5)
    assert wgan_package.distance(convert(values), convert(shifted), "gaussian")["gaussian_w2"] == pytest.approx(5)


def test_samples_of_any_shape_have_a_distance(trained: Path) -> None:
    samples = wgan_package.load_run(trained, device="cpu").sample(range(50)).requires_grad_()
    assert wgan_package.distance(samples, samples)["w1"] == 0
    assert wgan_package.distance(samples[:, 0], samples[:, 0] + 3)["w1"] == pytest.approx(3)
    images = torch.zeros(4, 1, 5, 5)
    assert wgan_package.distance(images, images + 1)["w1"] == pytest.approx(5)


def test_the_seed_chooses_the_directions() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 20, 3))
    one, same, other = (wgan_package.distance(x, y, "sliced", seed=seed)["sliced_w1"] for seed in (0, 0, 1))
    assert one == same != other


def test_a_notebook_completes_what_is_promised_alone() -> None:
    assert {name for name in dir(wgan_package) if not name.startswith("_")} == set(wgan_package.__all__)
    assert all(hasattr(wgan_package, name) for name in dir(wgan_package))


def test_mistakes_raise_wgan_errors(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(wgan_package.BadInputError, match=r"did you mean mnist_gp\?"):
        wgan_package.load_config("mnist_pg")
    with pytest.raises(wgan_package.BadInputError, match=r"--set sede=1: sede: unknown key; did you mean seed\?"):
        wgan_package.load_config("normal_gp", ["sede=1"])
    with pytest.raises(wgan_package.BadInputError, match="holds a run"):
        wgan_package.train("normal_gp", trained)
    with pytest.raises(wgan_package.BadInputError, match="not available here"):
        wgan_package.train("normal_gp", tmp_path / "new", device="abacus")
    with pytest.raises(wgan_package.WganError, match="nothing: no such run folder"):
        wgan_package.load_run(tmp_path / "nothing")
    with pytest.raises(wgan_package.BadInputError, match="unknown; allowed: exact"):
        wgan_package.distance([[0.0]], [[1.0]], "best")
    assert not (tmp_path / "new").exists()


def test_a_run_is_evaluated_as_by_the_command_line(trained: Path, wgan: Wgan) -> None:
    figures = wgan_package.evaluate(trained, 50)
    assert figures == wgan_package.evaluate(wgan_package.load_run(trained, device="cpu"), 50)
    assert figures == json.loads(wgan("evaluate", trained, "--num=50", "--json", "--device=cpu").out)
    for num in (1, 2.5, "20"):
        with pytest.raises(wgan_package.BadInputError, match="num: must be a whole number, at least 2"):
            wgan_package.evaluate(trained, num)
    for seed in (-1, 1.5, 2**32):
        with pytest.raises(wgan_package.BadInputError, match="seed: must be a whole number from 0 to 4294967295"):
            wgan_package.evaluate(trained, 50, seed=seed)


def test_a_condition_as_a_tensor_has_a_row_for_each_sample(trained: Path) -> None:
    with pytest.raises(wgan_package.BadInputError, match=r"condition: a tensor must have shape \(3, 0\) here, but has"):
        wgan_package.load_run(trained, device="cpu").sample(3, torch.ones(3, 2))


@pytest.mark.parametrize("seeds", [-1, True, 8.5, "8", [1, -2], ["a"], [0.5]])
def test_what_are_no_seeds_is_refused(trained: Path, seeds: Any) -> None:
    with pytest.raises(wgan_package.BadInputError, match="seeds: must be a number of samples, or whole numbers from 0"):
        wgan_package.load_run(trained, device="cpu").sample(seeds)


def test_overrides_are_a_list() -> None:
    with pytest.raises(wgan_package.BadInputError, match=r"overrides: must be a list, such as \['seed=1'\]"):
        wgan_package.load_config("normal_gp", "seed=1")
