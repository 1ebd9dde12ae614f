"""The command line as a shell sees it: exit codes, stdout, stderr, and what is on the disk afterwards."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.conftest import Result, Wgan
from tests.helpers import TINY_MNIST, has_logged, metrics, wait_for
from tests.runs.helpers import make_run
from tests.wgan_server import program
from wgan_cli import __version__
from wgan_cli.commands.printing import print_figures
from wgan_cli.config import shipped
from wgan_cli.config.load import load_config
from wgan_cli.data.mnist import Mnist
from wgan_cli.runs.checkpoints import sealed
from wgan_cli.runs.loaded import load_run
from wgan_cli.training.loop import train_run

CPU = torch.device("cpu")
PUBLISHED = Mnist.checksums
QUICK = ("--set=training.iterations=4", "--set=training.batch_size=16", "--device=cpu")


def train(wgan: Wgan, *more: object, config: str = "normal_gp") -> Result:
    return wgan("train", "--config", config, *QUICK, *more)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of plain values. Do not write to it."""
    config = load_config("normal_gp", ["training.iterations=4", "training.batch_size=16"])
    return train_run(config, CPU, out=tmp_path_factory.mktemp("runs") / "run", name="x")


def refused(result: Result, *parts: str, code: int = 2) -> None:
    """The user made a mistake: the code, a short text on stderr with each part, and nothing else."""
    assert result.code == code, result.err
    assert result.out == ""
    assert "Traceback" not in result.err
    assert len(result.err.splitlines()) <= 3
    for part in parts:
        assert part in result.err


# --- train -------------------------------------------------------------------------------------------------


def test_train_prints_the_runs_folder_and_no_bar(wgan: Wgan) -> None:
    result = train(wgan)
    assert (result.code, result.out) == (0, "runs/normal_gp-0001\n")
    execution, *lines, time, truth, proved, following = result.err.splitlines()
    assert execution == "wgan: runs/normal_gp-0001: cpu, threads 1, engine eager, float32, matmul highest"
    assert [" ".join(line.split()[2:6]).rstrip(",") for line in lines] == ["iteration 4 of 4"]
    assert time.startswith("wgan: 4 iterations in 00:0")
    assert truth.startswith("wgan: truth/w1: ")
    assert proved.startswith("wgan: proved: W1 is larger than ")
    assert following == "wgan: next: `wgan sample runs/normal_gp-0001` or `wgan evaluate runs/normal_gp-0001`"
    assert train(wgan).out == "runs/normal_gp-0002\n"
    assert Path("runs/normal_gp-0002/metrics.jsonl").is_file()


def test_configs_and_runs_are_named_with_or_without_their_option(wgan: Wgan) -> None:
    options = ("--out=run", *QUICK)
    assert wgan("train", "normal_gp", *options).out == "run\n"
    assert wgan("train", "normal_gp", "--config=normal_gp", *options, "--resume").out == "run\n"
    draws = [
        (wgan("sample", *line, "--out=x.npz").code, np.load("x.npz")["samples"].tolist())
        for line in (("run",), ("--ckpt=run",), ("run", "--ckpt=run"))
    ]
    assert draws[0][0] == 0
    assert draws[0] == draws[1] == draws[2]
    assert wgan("evaluate", "run", "--num=20").out == wgan("evaluate", "--ckpt=run", "--num=20").out
    assert Path("run/evaluation.json").is_file()


def test_the_same_line_resumes_for_ever(wgan: Wgan) -> None:
    line = ("--out", "run", "--resume")
    assert train(wgan, *line).out == "run\n"
    again = train(wgan, *line)
    assert (again.out, again.err) == ("run\n", "wgan: run: is finished, at iteration 4: nothing is left to do\n")
    assert train(wgan, *line, "--set=training.iterations=6").out == "run\n"
    assert metrics(Path("run"))[-1]["step"] == 6


def test_a_dry_run_describes_the_run_and_writes_nothing(wgan: Wgan) -> None:
    result = wgan("train", "--config", "mnist_gp", "--dry-run", "--set", "seed=5", "--out", "run")
    assert result.code == 0
    assert yaml.safe_load(result.out)["seed"] == 5
    critic = (16 + 1) * 32 + (32 * 16 + 1) * 64 + (64 * 7 * 7 + 1) * 256 + 256 + 1
    assert f"# critic: {critic:,} parameters, 16x1x28x28 -> 16" in result.out
    assert "parameters, 16x16 -> 16x1x28x28" in result.out
    assert not list(Path().iterdir())


def test_a_dry_run_refuses_a_folder_that_is_not_free(wgan: Wgan) -> None:
    train(wgan, "--out=run")
    refused(wgan("train", "normal_gp", "--dry-run", "--out=run"), "--out run: holds a run; --resume goes on with it")
    assert wgan("train", "normal_gp", "--dry-run", "--out=run", "--resume").code == 0
    Path("mine").mkdir()
    Path("mine", "notes.txt").touch()
    refused(wgan("train", "normal_gp", "--dry-run", "--out=mine"), "is not empty, and holds no run")
    Path("file").touch()
    refused(wgan("train", "normal_gp", "--dry-run", "--out=file"), "--out file: can't be written (Not a directory)")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_dry_run_refuses_a_device_that_is_not_here(wgan: Wgan) -> None:
    refused(wgan("train", "--config", "normal_gp", "--dry-run", "--device", "cuda"), "--device cuda")


def test_the_schema_is_of_no_single_config(wgan: Wgan) -> None:
    refused(wgan("configs", "normal_gp", "--schema"), "--schema: is of every config; leave normal_gp out")


def test_a_dry_run_describes_networks_of_any_size(wgan: Wgan) -> None:
    result = wgan("train", "--config", "normal_gp", "--dry-run", "--set", "critic.hidden=[1000000, 1000000]")
    assert "1,000,004,000,001 parameters" in result.out


def test_a_home_folder_is_expanded(wgan: Wgan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert train(wgan, "--out", "~/run").out == f"{tmp_path}/run\n"
    assert not Path("~").exists()


def test_bad_data_leaves_no_folder(wgan: Wgan, made_up_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = ("train", "--config=mnist_gp", *TINY_MNIST, f"--set=data.root={made_up_mnist}")
    result = wgan(*line, "--set=training.batch_size=97")
    refused(result, "training.batch_size: 97 is larger than the 96 samples")
    monkeypatch.setattr(Mnist, "checksums", PUBLISHED)
    refused(wgan(*line), "wrong checksum")
    assert not list(Path().iterdir())


def test_a_folder_that_holds_another_run_is_left_as_it_is(wgan: Wgan) -> None:
    train(wgan, "--out", "run")
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    refused(train(wgan, "--out", "run"), "holds a run")
    refused(train(wgan, "--out", "run", "--resume", "--set=seed=9"), "another config, in seed")
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before


# --- sample ------------------------------------------------------------------------------------------------


def test_train_sample_and_read_back_on_images(wgan: Wgan, made_up_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WGAN_DATA", str(made_up_mnist))
    assert train(wgan, *TINY_MNIST, "--out", "run", config="mnist_gp").out == "run\n"
    assert wgan("sample", "--ckpt", "run", "--num", "9", "--out", "grid.png").out == "grid.png\n"
    assert Image.open("grid.png").size == (92, 92)
    assert wgan("sample", "--ckpt", "run", "--seeds", "0,3-9", "--out", "some.npz").code == 0
    assert wgan("sample", "--ckpt", "run", "--num", "10", "--out", "all.npz").code == 0
    some, everything = np.load("some.npz")["samples"], np.load("all.npz")["samples"]
    assert some.shape == (8, 28, 28, 1)
    assert np.abs(some.astype(int) - everything[[0, *range(3, 10)]].astype(int)).max() <= 1
    assert wgan("sample", "--ckpt", "run", "--seed", "5", "--num", "2", "--out", "folder").code == 0
    assert sorted(os.listdir("folder")) == ["seed000005.png", "seed000006.png"]
    assert wgan("sample", "--ckpt", "run", "--interpolate", "3,7", "--num", "5", "--out", "way.npz").code == 0
    path = np.load("way.npz")["samples"]
    assert np.abs(path[[0, 4]].astype(int) - everything[[3, 7]].astype(int)).max() <= 1
    for steps, size in ((5, (5 * 30 + 2, 32)), (20, (16 * 30 + 2, 62))):  # one row, unless it is very long
        assert wgan("sample", "--ckpt", "run", "--interpolate", "3,7", "--num", steps, "--out", "way.png").code == 0
        assert Image.open("way.png").size == size


def test_sample_has_defaults_for_each_kind_of_data(wgan: Wgan, trained: Path) -> None:
    assert wgan("sample", "--ckpt", trained).out == "samples.npz\n"
    assert np.load("samples.npz")["samples"].shape == (64, 1)
    assert wgan("sample", "--ckpt", trained, "--raw", "--out", "density.png", "--num", "500").out == "density.png\n"
    assert Image.open("density.png").size == (600, 400)


def sampled_seeds(wgan: Wgan, trained: Path, text: str) -> list[int]:
    """The seeds that `--seeds TEXT` means; the samples are checked to be theirs."""
    result = wgan("sample", "--ckpt", trained, f"--seeds={text}", "--out=seeds.npz", "--device=cpu")
    assert (result.code, result.err) == (0, "")
    with np.load("seeds.npz") as file:
        seeds = [int(name.removeprefix("seed")) for name in file["names"].tolist()]
        expected = load_run(str(trained), CPU).sample(seeds).numpy()
        np.testing.assert_allclose(file["samples"], expected, atol=1e-6)
    return seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0", [0]), ("0,3-5", [0, 3, 4, 5]), ("7, 7", [7, 7]), ("3-3", [3]), (str(2**32 - 1), [2**32 - 1])],
)
def test_seeds_are_numbers_and_ranges(wgan: Wgan, trained: Path, text: str, seeds: list[int]) -> None:
    assert sampled_seeds(wgan, trained, text) == seeds


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
def test_any_seeds_can_be_listed(wgan: Wgan, trained: Path, seeds: list[int]) -> None:
    assert sampled_seeds(wgan, trained, ",".join(map(str, seeds))) == seeds


@pytest.mark.parametrize("text", ["", "a", "1,", "-1", "3-", "5-3", "1--2", "1.5", str(2**32), "0-99999999999", "²"])
def test_bad_seeds_are_refused(wgan: Wgan, trained: Path, text: str) -> None:
    result = wgan("sample", "--ckpt", trained, f"--seeds={text}")
    refused(result)
    assert "seed" in result.err or "samples" in result.err
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((f"--seed={2**32}",), "--seed"),
        ((f"--seed={2**32 - 3}", "--num=4"), "seeds are below 2**32"),
        (("--num=10000001",), "10,000,001 samples are too many for one file"),
        (("--seeds=0-10000000",), "10,000,001 samples are too many for one file"),
        ((f"--interpolate=3,{2**32}",), "seeds are below 2**32"),
        (("--interpolate=3,7", "--seeds=1"), "leave out --seed and --seeds"),
        (("--interpolate=3,7", "--seed=1"), "leave out --seed and --seeds"),
        (("--seeds=1", "--seed=1"), "leave out --num and --seed"),
    ],
)
def test_seeds_beyond_the_limits_are_refused(wgan: Wgan, trained: Path, options: tuple[str, ...], message: str) -> None:
    refused(wgan("sample", "--ckpt", trained, *options), message)
    assert not list(Path().iterdir())


@pytest.mark.parametrize("ends", ["3-7", "-1,3", "3", "3,x"])
def test_bad_ends_of_an_interpolation_are_refused(wgan: Wgan, trained: Path, ends: str) -> None:
    refused(wgan("sample", "--ckpt", trained, f"--interpolate={ends}"), f"--interpolate {ends}: must name two seeds")


@pytest.mark.parametrize("number", [2**32, 10**20])
def test_seeds_and_jobs_beyond_measure_are_refused(wgan: Wgan, number: int) -> None:
    refused(wgan("distance", "x.npy", "y.npy", "--seed", number), f"--seed {number}: is too large")
    refused(wgan("search", "space.yaml", "--out", "out", "--jobs", number), "--jobs", "1024")


@pytest.mark.parametrize(
    ("line", "option"),
    [
        (("train", "normal_gp", "--out"), "--out"),
        (("sample", "{run}", "--out"), "--out"),
        (("plot", "{run}", "--out"), "--out"),
        (("evaluate", "{run}", "--num=10", "--plot"), "--plot"),
        (("evaluate", "{run}", "--num=10", "--nearest"), "--nearest"),
        (("distance", "x.npy", "x.npy", "--plot"), "--plot"),
        (("data", "x.npy", "--plot"), "--plot"),
        (("search", "x.yaml", "--out"), "--out"),
    ],
)
def test_no_path_and_stdout_are_refused_by_name(wgan: Wgan, trained: Path, line: tuple[str, ...], option: str) -> None:
    np.save("x.npy", np.zeros((9, 2)))
    before = sorted(trained.rglob("*"))
    words = [word.format(run=trained) for word in line]
    refused(wgan(*words, ""), f"{option}", "'' is no path; name a file or folder")
    refused(wgan(*words, "-"), f"{option}", "- would be stdout, but this is written to a file or folder")
    refused(wgan(*words, "~nobody-of-this-name/x.png"), f"{option}", "there is no such user")
    assert (sorted(trained.rglob("*")), list(Path().iterdir())) == (before, [Path("x.npy")])


@pytest.mark.parametrize(
    "line",
    [
        ("train", "~nobody-of-this-name/x.yaml"),
        ("train", "normal_gp", "--set=data={kind: arrays, path: ~nobody-of-this-name/x.npy}"),
        ("train", "mnist_gp", "--set=data.root=~nobody-of-this-name/x"),
        ("sample", "~nobody-of-this-name/run"),
        ("runs", "~nobody-of-this-name"),
        ("plot", "~nobody-of-this-name"),
        ("data", "~nobody-of-this-name"),
        ("distance", "~nobody-of-this-name/x.npy", "mnist:test"),
        ("init", "--data", "~nobody-of-this-name"),
        ("search", "~nobody-of-this-name/x.yaml", "--out", "x"),
    ],
)
def test_the_home_of_nobody_is_refused(wgan: Wgan, line: tuple[str, ...]) -> None:
    refused(wgan(*line), "there is no such user, whose home folder ~ would be")
    assert not list(Path().iterdir())


def test_bad_checkpoints_are_named(wgan: Wgan, trained: Path) -> None:
    Path("x.pt").write_bytes(b"no checkpoint")
    refused(wgan("sample", "--ckpt", "x.pt"), "x.pt: truncated, damaged, or not a file of torch's")
    Path("empty").mkdir()
    refused(wgan("sample", "--ckpt", "empty"), "holds no checkpoint")
    for out in ("nowhere/x.png", "x.jpg"):
        refused(wgan("sample", "--ckpt", trained, "--out", out), f"--out {out}")
    assert not Path("nowhere").exists()


# --- evaluate, distance, plot, runs ------------------------------------------------------------------------


def test_evaluate_prints_and_keeps_its_figures(wgan: Wgan) -> None:
    train(wgan, "--out=run")
    result = wgan("evaluate", "--ckpt=run", "--num=500", "--json", "--device=cpu")
    assert result.err == ""
    figures = json.loads(result.out)
    assert figures == json.loads(Path("run/evaluation.json").read_text())
    assert figures["step"] == 4
    assert figures["samples"] == 500
    for name in ("w1", "w2", "gaussian_w2"):
        assert 0 < figures[f"truth/{name}_floor"] < figures[f"truth/{name}"]
    assert json.loads(wgan("evaluate", "--ckpt=run", "--num=500", "--json", "--device=cpu").out) == figures
    assert "critic/w1_heldout" in wgan("evaluate", "--ckpt=run", "--num=500", "--seed=7").out


def test_evaluate_says_that_few_samples_are_held_out(wgan: Wgan) -> None:
    np.save("x.npy", np.random.default_rng(0).normal(size=(40, 2)))
    data = f"--set=data={{kind: arrays, path: {Path.cwd() / 'x.npy'}}}"
    assert wgan("train", "normal_gp", data, *QUICK, "--out=run").code == 0
    result = wgan("evaluate", "run")
    assert re.search(r"^samples +2$", result.out, re.MULTILINE)
    assert result.err.startswith("wgan: 2 samples are compared, not 2000: half of the held-out ones give the floors")


def test_a_perfect_generator_s_figures_stand_beside_each(capsys: pytest.CaptureFixture[str]) -> None:
    print_figures(
        {"step": 4, "w1": 1.5, "w1_ci_low": 1.0, "w1_ci_high": 2.0, "w1_floor": 0.25, "odd_floor": 3, "gap": -1.0}
    )
    lines = [re.split("  +", line.strip()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["figure", "value", "interval of 95 %", "perfect"],
        ["step", "4"],
        ["w1", "1.5", "1 to 2", "0.25"],
        ["odd_floor", "3"],
        ["gap", "-1"],
    ]
    print_figures({"method": "exact", "w1": 2.0})
    assert capsys.readouterr().out == "method  exact\nw1      2\n"


def test_a_run_that_cannot_be_written_to_is_measured_all_the_same(wgan: Wgan) -> None:
    train(wgan, "--out=run")
    Path("run/evaluation.json").mkdir()  # nothing can take this name now
    result = wgan("evaluate", "--ckpt=run", "--num=50", "--json", "--device=cpu")
    assert result.code == 1
    assert "truth/w1_floor" in json.loads(result.out)
    assert result.err.startswith("wgan: run/evaluation.json: can't be written")


def test_a_diverged_generator_is_not_measured(wgan: Wgan) -> None:
    train(wgan, "--out=run")
    for path in Path("run/checkpoints").iterdir():
        state = torch.load(path, weights_only=True)
        for name, value in state["average"].items():
            state["average"][name] = torch.full_like(value, float("nan")) if value.is_floating_point() else value
        path.write_bytes(sealed(state))
    for command in ("evaluate", "sample"):
        result = wgan(command, "--ckpt=run", "--num=50", "--device=cpu")
        refused(result, "not finite", code=1)


def test_distance_prints_figures_json_and_a_picture(wgan: Wgan) -> None:
    x, y = torch.randn(2, 20, 2, generator=torch.Generator().manual_seed(0)).numpy()
    np.save("a.npy", x)
    np.save("b.npy", y + 1)
    plain = wgan("distance", "a.npy", "b.npy")
    figures = json.loads(wgan("distance", "a.npy", "b.npy", "--json", "--plot", "plan.png").out)
    assert figures["samples"] == [20, 20]
    assert f"{figures['w1']:.6g}" in plain.out.splitlines()[-1].split()
    assert Path("plan.png").read_bytes().startswith(b"\x89PNG")
    Path("critic.yaml").write_text("critic: {kind: mlp, hidden: [16]}\nsteps: 20\nbatch_size: 8\n")
    fitted = json.loads(wgan("distance", "a.npy", "b.npy", "--method=critic", "--config=critic.yaml", "--json").out)
    assert fitted["w1_estimate"] <= figures["w1"] * 1.01


@pytest.mark.parametrize("values", [np.random.default_rng(0).normal(size=(300, 2)), np.ones((5, 3)), np.array([[4.0]])])
def test_a_set_has_no_sinkhorn_distance_to_itself(wgan: Wgan, values: np.ndarray) -> None:
    np.save("a.npy", values)
    result = wgan("distance", "a.npy", "a.npy", "--method=sinkhorn", "--json")
    assert (result.code, result.err) == (0, "")
    figures = json.loads(result.out)
    assert figures["sinkhorn_divergence"] < 1e-9
    assert figures["sinkhorn_cost"] < figures["epsilon"]  # what the blur moves
    assert figures["converged"]


def test_bad_distances_are_refused(wgan: Wgan) -> None:
    np.save("a.npy", np.arange(10.0).reshape(5, 2))
    Path("critic.yaml").write_text("steps: 20\nbatchsize: 8\n")
    for more, message in (
        (("--method", "sliced", "--plot", "x.png"), "use exact or sinkhorn"),
        (("--config", "critic.yaml"), "is for --method critic"),
        (("--method", "critic", "--config", "critic.yaml"), "critic.yaml:2: batchsize: unknown key; did you mean"),
        (("--p", "0.5"), "--p"),
        (("--plot", "x.jpg"), "--plot x.jpg: must end in"),
        (("--plot", "no/x.png"), "there is no folder no"),
    ):
        refused(wgan("distance", "a.npy", "a.npy", *more), message)
        assert not list(Path().glob("x.*"))


def test_plot_draws_several_runs_in_one_picture(wgan: Wgan) -> None:
    for out in ("one", "other"):
        train(wgan, "--out", out)
    assert wgan("plot", "one", "other").out == "plot.png\n"
    assert Image.open("plot.png").size[0] == 1200
    assert wgan("plot", "one", "--out", "x.svg").out == "x.svg\n"
    refused(wgan("plot", "nothing"), "nothing")
    refused(wgan("plot", "one", "--out", "x.jpg"), "must end in .png, .svg, .pdf, .gif or .webp")
    assert wgan("plot", "one", "--dpi", "50").out == "plot.png\n"
    assert Image.open("plot.png").size[0] == 600
    assert wgan("plot", "one", "--out", "training.gif", "--dpi", "40").out == "training.gif\n"
    assert Image.open("training.gif").n_frames == 2  # of iterations 0 and 4
    refused(wgan("plot", "one", "other", "--out", "both.gif"), "--out both.gif: shows one run through time")


def test_runs_prints_a_table_or_json(wgan: Wgan) -> None:
    make_run(Path("runs/one"), 10, 40)
    make_run(Path("runs/two"))
    table = wgan("runs").out.splitlines()
    assert table[0].split()[:3] == ["run", "iteration", "state"]
    assert table[1].split()[:8] == ["one", "40", "/", "40", "finished", "0.5", "0.25", "0.1"]
    assert table[2].split()[4:8] == ["stopped", "-", "-", "-"]
    listed = json.loads(wgan("runs", "runs", "--json").out)["runs"]
    assert [run["name"] for run in listed] == ["one", "two"]
    assert listed[0]["gap"] == 0.5
    Path("empty").mkdir()
    assert json.loads(wgan("runs", "empty", "--json").out) == {"runs": []}
    assert wgan("runs", "empty") == Result(0, "", "wgan: empty: holds no runs\n")
    refused(wgan("runs", ""), "'' is no path")
    assert wgan("runs", "nowhere").code == 2
    Path("runs").rename("elsewhere")
    assert wgan("runs") == Result(0, "", "wgan: runs: holds no runs\n")  # before the first


# --- configs, help and mistakes ----------------------------------------------------------------------------


def test_configs_are_listed_and_printed(wgan: Wgan) -> None:
    listed = wgan("configs").out.splitlines()
    assert [line.split()[0] for line in listed] == shipped.names()
    schema = (shipped.FOLDER / "schema.json").as_uri()  # which a copy in any folder finds
    own = (shipped.FOLDER / "mnist_gp.yaml").read_text()
    assert wgan("configs", "mnist_gp").out == own.replace("$schema=schema.json", f"$schema={schema}") != own
    assert json.loads(wgan("configs", "--schema").out)["title"] == "RunConfig"
    refused(wgan("configs", "mnist_pg"), "did you mean mnist_gp?")


def test_version_and_help(wgan: Wgan) -> None:
    assert wgan("--version").out == f"wgan {__version__}\n"
    for command in ((), ("train",), ("sample",), ("configs",)):
        assert "Usage: wgan" in wgan(*command, "--help").out
    assert "..." not in wgan("--help").out.partition("Commands:")[2]  # none is cut


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("train", "[CONFIG]"),
        ("sample", "[RUN]"),
        ("distance", "A B"),
        ("plot", "RUN..."),
        ("runs", "[FOLDER]"),
        ("configs", "[NAME]"),
    ],
)
def test_help_shows_names_and_no_types(wgan: Wgan, command: str, usage: str) -> None:
    shown = wgan(command, "--help").out
    assert shown.splitlines()[0] == f"Usage: wgan {command} [OPTIONS] {usage}"
    for word in usage.replace(".", "").split():
        assert f"\n  {word.strip('[]')}  " in shown
    assert "[[" not in shown
    assert "<" not in shown.replace("<=", "")


def test_help_and_listings_do_not_import_torch() -> None:
    code = "import sys; from wgan_cli import cli; cli.configs(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.endswith("\nFalse\n")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["train"], ["no config is named; name a file, or one that `wgan configs` lists"]),
        (["train", "--config", ""], ["no config is named"]),
        (["train", "normal_gp", "--config", "mnist_gp"], ["--config mnist_gp: differs from normal_gp"]),
        (["sample"], ["no run is named; name its folder, or a checkpoint file"]),
        (["evaluate", "", "--json"], ["no run is named"]),
        (["evaluate", "a", "--ckpt", "b"], ["--ckpt b: differs from a; leave one of them out"]),
        (["plot"], ["Missing argument", "wgan plot --help"]),
        (["tarin"], ["No such command 'tarin'"]),
        (["train", "--confg", "x"], ["No such option"]),
        (["train", "--config", "nothing.yaml"], ["nothing.yaml: no such file"]),
        (["train", "--config", "normal_gp", "--resume"], ["--resume needs --out"]),
        (["train", "--config", "normal_gp", "--set", "sede=1"], ["sede: unknown key; did you mean seed?"]),
        (["train", "--config", "normal_gp", "--device", "abacus"], ["--device abacus: not available here"]),
        (["train", "--config", "normal_gp", "--device", "meta"], ["computes on cpu, cuda or mps"]),
        (["train", "--config", "normal_gp", "--device", "cuda:99"], ["--device cuda:99: not available here"]),
        (["train", "--config", "mnist_gp", "--set", "data={kind: normal}"], ["generator.kind", "critic.kind"]),
        (["sample", "--ckpt", "nothing"], ["wgan: nothing: no such run folder or checkpoint file"]),
        (["sample", "--ckpt", "x", "--num", "0"], ["--num"]),
        (["sample", "--ckpt", "x", "--seeds", "1", "--num", "2"], ["leave out --num"]),
    ],
)
def test_bad_commands_exit_2_and_write_nothing(wgan: Wgan, arguments: list[str], parts: list[str]) -> None:
    refused(wgan(*arguments), *parts)
    assert not list(Path().iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_without_a_device_is_refused(wgan: Wgan) -> None:
    refused(wgan("train", "--config", "normal_gp", "--device", "cuda"), "--device cuda: not available here", "use auto")
    assert not list(Path().iterdir())


# --- processes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits_75_and_the_same_line_goes_on(wgan: Wgan, number: signal.Signals) -> None:
    line = ("train", "--config", "normal_gp", "--device=cpu", "--out=run", "--set=output.log_every=1", "--resume")
    process = subprocess.Popen([program(), *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: has_logged(Path("run")) or process.poll() is not None)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert out == ""
    (checkpoint,) = Path("run/checkpoints").iterdir()
    step = int(checkpoint.stem)
    assert f"{number.name}: stopped at iteration {step}" in err
    assert wgan(*line, f"--set=training.iterations={step + 2}").out == "run\n"
    assert [line["step"] for line in metrics(Path("run"))] == list(range(1, step + 3))


@pytest.mark.parametrize(("at_first", "code"), [("", 0), ("os.kill(os.getpid(), signal.SIGUSR1)", 75)])
def test_a_late_signal_changes_no_exit_code(tmp_path: Path, at_first: str, code: int) -> None:
    """Slurm repeats its signals; one may come after the run has ended, and before the process has."""
    script = f"""
import atexit, os, signal, sys
from wgan_cli import cli
from wgan_cli.training.trainer import Trainer
iterate = Trainer.iterate
def iterated(trainer):
    {at_first}
    return iterate(trainer)
Trainer.iterate = iterated
atexit.register(lambda: [os.kill(os.getpid(), number) for number in (signal.SIGTERM, signal.SIGUSR1)])
cli.main()
"""
    line = ["train", "--config=normal_gp", *QUICK, f"--out={tmp_path / 'run'}"]
    done = subprocess.run([sys.executable, "-c", script, *line], capture_output=True, text=True)
    assert done.returncode == code, done.stderr


@pytest.mark.parametrize("command", ["data", "distance"])
def test_a_reader_that_ends_early_costs_no_picture(tmp_path: Path, command: str) -> None:
    """As in `wgan data x.npy --plot x.png | head -1`."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(20, 2)))
    picture, files = tmp_path / "picture.png", [tmp_path / "x.npy"] * (2 if command == "distance" else 1)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([program(), command, *files, "--plot", picture], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert re.fullmatch(rf"wgan: {picture}: [a-z ]+\n", done.stderr.decode())
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_full_disk_is_one_clear_error_and_keeps_every_checkpoint(wgan: Wgan) -> None:
    train(wgan, "--out", "run")
    before = {path: path.read_bytes() for path in Path("run/checkpoints").iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A limit on the size of a file is the nearest thing to a full disk that needs no root.
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        result = train(wgan, "--out", "run", "--resume", "--set=training.iterations=8")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (result.code, result.out) == (1, "")
    assert "wgan: run: can't be written (File too large)" in result.err
    assert "Traceback" not in result.err
    assert {path: path.read_bytes() for path in Path("run/checkpoints").iterdir()} == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_stdout_is_one_line() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with open("/dev/full", "w") as full:
        line = [sys.executable, "-m", "wgan_cli", "configs"]
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
    assert done.returncode == 1
    assert done.stderr == "wgan: can't write the result to stdout (No space left on device)\n"


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_a_closed_stdout_is_no_success() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    line = ["sh", "-c", '"$0" -m wgan_cli configs >&-', sys.executable]
    done = subprocess.run(line, stderr=subprocess.PIPE, text=True, env=environment)
    assert (done.returncode, done.stderr) == (1, "wgan: can't write the result to stdout, which is closed\n")


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_a_closed_stderr_stops_no_run(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    training = "train --config normal_gp --device cpu --set training.iterations=2 --out run"
    line = ["sh", "-c", f'"$0" -m wgan_cli {training} 2>&-', sys.executable]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "run\n")
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "finished"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_too_little_memory_is_one_line(wgan: Wgan, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def read(name: str) -> str:
        raise error

    monkeypatch.setattr(shipped, "read", read)
    result = wgan("configs", "normal_gp")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert result.err.startswith("wgan: out of memory; take fewer or smaller samples")


def test_a_fault_of_our_own_keeps_its_traceback(wgan: Wgan, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(name: str) -> str:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(shipped, "read", read)
    with pytest.raises(RuntimeError, match="shapes differ"):
        wgan("configs", "normal_gp")
