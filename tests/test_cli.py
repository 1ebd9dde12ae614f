"""The command line as a shell sees it: exit codes, stdout, stderr, and what is on the disk afterwards."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tests.conftest import TINY_MNIST, Result, Wgan
from wgan_cli import __version__, shipped

QUICK = ("--set=training.iterations=4", "--set=training.batch_size=16", "--device=cpu")


def train(wgan: Wgan, *more: object, config: str = "normal_gp") -> Result:
    return wgan("train", "--config", config, *QUICK, *more)


def refused(result: Result, *parts: str, code: int = 2) -> None:
    """The user made a mistake: the code, a short text on stderr with each part, and nothing else."""
    assert result.code == code, result.err
    assert result.out == ""
    assert "Traceback" not in result.err
    assert len(result.err.splitlines()) <= 3
    for part in parts:
        assert part in result.err


def test_train_prints_the_runs_folder_and_no_bar(wgan: Wgan) -> None:
    result = train(wgan)
    told = "wgan: runs/normal_gp-0001: cpu, threads 1, engine eager, float32, matmul highest\n"
    assert result == Result(0, "runs/normal_gp-0001\n", told)
    assert train(wgan).out == "runs/normal_gp-0002\n"
    assert Path("runs/normal_gp-0002/metrics.jsonl").is_file()


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
    way = np.load("way.npz")["samples"]
    assert np.abs(way[[0, 4]].astype(int) - everything[[3, 7]].astype(int)).max() <= 1


def test_sample_has_defaults_for_each_kind_of_data(wgan: Wgan) -> None:
    train(wgan, "--out", "run")
    assert wgan("sample", "--ckpt", "run").out == "samples.npz\n"
    assert np.load("samples.npz")["samples"].shape == (64, 1)
    assert wgan("sample", "--ckpt", "run", "--raw", "--out", "density.png", "--num", "500").out == "density.png\n"
    assert Image.open("density.png").size == (600, 400)


def test_plot_draws_several_runs_in_one_picture(wgan: Wgan) -> None:
    for out in ("one", "other"):
        train(wgan, "--out", out)
    assert wgan("plot", "one", "other").out == "plot.png\n"
    assert Image.open("plot.png").size[0] == 1200
    assert wgan("plot", "one", "--out", "x.svg").out == "x.svg\n"
    refused(wgan("plot", "nothing"), "nothing")
    refused(wgan("plot", "one", "--out", "x.jpg"), "must end in")


def test_resume_is_one_line_for_ever(wgan: Wgan) -> None:
    line = ("--out", "run", "--resume")
    assert train(wgan, *line).out == "run\n"
    assert train(wgan, *line).out == "run\n"
    assert train(wgan, *line, "--set=training.iterations=6").out == "run\n"
    assert json.loads(Path("run/metrics.jsonl").read_text().splitlines()[-1])["step"] == 6


def test_a_dry_run_says_what_would_be_and_writes_nothing(wgan: Wgan) -> None:
    result = wgan("train", "--config", "mnist_gp", "--dry-run", "--set", "seed=5", "--out", "run")
    assert result.code == 0
    assert yaml.safe_load(result.out)["seed"] == 5
    critic = 16 * 64 + 64 + 64 * 16 * 128 + 128 + 128 * 7 * 7 + 1
    assert f"# critic: {critic:,} parameters, 64x1x28x28 -> 64" in result.out
    assert "parameters, 64x128 -> 64x1x28x28" in result.out
    assert not list(Path().iterdir())


def test_a_dry_run_describes_networks_of_any_size(wgan: Wgan) -> None:
    result = wgan("train", "--config", "normal_gp", "--dry-run", "--set", "critic.hidden=[1000000, 1000000]")
    assert "1,000,004,000,001 parameters" in result.out


def test_interpolation_names_its_own_option(wgan: Wgan) -> None:
    train(wgan, "--out", "run")
    for ends in ("3-7", "-1,3", "3", "3,x"):
        refused(wgan("sample", "--ckpt", "run", f"--interpolate={ends}"), f"--interpolate {ends}: must name two seeds")


def test_a_home_folder_is_expanded(wgan: Wgan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert train(wgan, "--out", "~/run").out == f"{tmp_path}/run\n"
    assert not Path("~").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_stdout_is_one_line() -> None:
    code = "from wgan_cli.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, "configs"], stdout=full, stderr=subprocess.PIPE, text=True, env=environment
        )
    assert done.returncode == 1
    assert done.stderr == "wgan: can't write the result to stdout (No space left on device)\n"


def test_configs_are_listed_and_printed(wgan: Wgan) -> None:
    listed = wgan("configs").out.splitlines()
    assert [line.split()[0] for line in listed] == shipped.names()
    assert wgan("configs", "mnist_gp").out == (shipped.FOLDER / "mnist_gp.yaml").read_text()
    assert json.loads(wgan("configs", "--schema").out)["title"] == "RunConfig"
    refused(wgan("configs", "mnist_pg"), "did you mean mnist_gp?")


def test_version_and_help(wgan: Wgan) -> None:
    assert wgan("--version").out == f"wgan {__version__}\n"
    for command in ((), ("train",), ("sample",), ("configs",)):
        assert "Usage: wgan" in wgan(*command, "--help").out


def test_help_and_listings_do_not_import_torch() -> None:
    code = "import sys; from wgan_cli import cli, shipped; shipped.names(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["train"], ["Missing option '--config'", "wgan train --help"]),
        (["tarin"], ["No such command 'tarin'"]),
        (["train", "--confg", "x"], ["No such option"]),
        (["train", "--config", "nothing.yaml"], ["nothing.yaml: no such file"]),
        (["train", "--config", "normal_gp", "--resume"], ["--resume needs --out"]),
        (["train", "--config", "normal_gp", "--set", "sede=1"], ["sede: unknown key; did you mean seed?"]),
        (["train", "--config", "normal_gp", "--device", "abacus"], ["--device abacus: not available here"]),
        (["train", "--config", "normal_gp", "--device", "meta"], ["computes on cpu, cuda or mps"]),
        (["train", "--config", "normal_gp", "--device", "cuda:99"], ["--device cuda:99: not available here"]),
        (["train", "--config", "mnist_gp", "--set", "data={kind: normal}"], ["generator.kind", "critic.kind"]),
        (["sample", "--ckpt", "nothing"], ["--ckpt nothing: no such run folder or file"]),
        (["sample", "--ckpt", "x", "--num", "0"], ["--num"]),
        (["sample", "--ckpt", "x", "--seeds", "1", "--num", "2"], ["leave out --num"]),
    ],
)
def test_bad_commands_exit_2_and_write_nothing(wgan: Wgan, arguments: list[str], parts: list[str]) -> None:
    refused(wgan(*arguments), *parts)
    assert not list(Path().iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_without_a_device_is_told(wgan: Wgan) -> None:
    refused(wgan("train", "--config", "normal_gp", "--device", "cuda"), "--device cuda: not available here", "use auto")
    assert not list(Path().iterdir())


def test_bad_data_leaves_no_folder(wgan: Wgan, made_up_mnist: Path) -> None:
    refused(wgan("train", "--config", "mnist_gp", "--set", f"data.root={made_up_mnist}"), "wrong checksum")
    tiny = [option for option in TINY_MNIST if "batch_size" not in option]
    result = wgan(
        "train",
        "--config",
        "mnist_gp",
        *tiny,
        "--set",
        f"data.root={made_up_mnist}",
        "--set=training.batch_size=97",
    )
    refused(result, "training.batch_size: 97 is larger than the 96 samples")
    assert not list(Path().iterdir())


def test_out_holding_another_run_is_left_as_it_is(wgan: Wgan) -> None:
    train(wgan, "--out", "run")
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    refused(train(wgan, "--out", "run"), "holds a run")
    refused(train(wgan, "--out", "run", "--resume", "--set=seed=9"), "another config, in seed")
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before


def test_bad_checkpoints_are_named(wgan: Wgan) -> None:
    Path("x.pt").write_bytes(b"no checkpoint")
    refused(wgan("sample", "--ckpt", "x.pt"), "x.pt: truncated, damaged, or not a file of torch's")
    Path("empty").mkdir()
    refused(wgan("sample", "--ckpt", "empty"), "holds no checkpoint")
    train(wgan, "--out", "run")
    for out in ("nowhere/x.png", "x.jpg"):
        refused(wgan("sample", "--ckpt", "run", "--out", out), f"--out {out}")
    assert not Path("nowhere").exists()


def start(*arguments: str, prefix: str = "") -> subprocess.Popen[str]:
    """The command in a process of its own; `prefix` is Python to run first."""
    code = f"{prefix}\nimport sys; sys.argv = ['wgan', *sys.argv[1:]]; from wgan_cli.cli import main; main()"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


LONG = ("train", "--config", "normal_gp", "--device=cpu", "--out=run", "--set=output.log_every=1")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits_75_and_the_same_line_goes_on(wgan: Wgan, number: signal.Signals) -> None:
    process = start(*LONG, "--resume")
    while not Path("run/metrics.jsonl").is_file() or not Path("run/metrics.jsonl").read_text():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert out == ""
    (checkpoint,) = Path("run/checkpoints").iterdir()
    step = int(checkpoint.stem)
    assert f"{number.name}: stopped at iteration {step}" in err
    result = wgan(*LONG, "--resume", f"--set=training.iterations={step + 2}")
    assert result.out == "run\n"
    steps = [json.loads(line)["step"] for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, step + 3))


def test_a_full_disk_is_one_clear_error_and_keeps_what_was_saved(wgan: Wgan) -> None:
    train(wgan, "--out", "run")
    # A limit on the size of a file is the nearest thing to a full disk that needs no root.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))"
    before = {path: path.read_bytes() for path in Path("run/checkpoints").iterdir()}
    more = (*QUICK, "--resume", "--set=training.iterations=8")
    process = start("train", "--config", "normal_gp", "--out=run", *more, prefix=limit)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert out == ""
    assert "wgan: run: can't be written (File too large)" in err
    assert "Traceback" not in err
    assert {path: path.read_bytes() for path in Path("run/checkpoints").iterdir()} == before
