"""Every kind of data trains, goes on to the bit, samples, evaluates and plots; with conditions where it has some."""

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytest
import torch
from PIL import Image

import wgan_cli as wgan
from tests.data.pictures import noise, write_folder
from tests.helpers import made_up_checksums, metrics, wait_for, write_made_up_mnist
from wgan_cli import sampling
from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.data import KINDS, Cifar10, FashionMnist, Kmnist, Mnist, StackedMnist
from wgan_cli.evaluation.figures import evaluate
from wgan_cli.plots.curves import curves_figure
from wgan_cli.plots.style import save
from wgan_cli.runs.checkpoints import checkpoints, read_checkpoint
from wgan_cli.runs.curves import read_curves
from wgan_cli.search.space import FAMILIES
from wgan_cli.training.trainer import Trainer

CPU = torch.device("cpu")
MLP = ("generator={kind: mlp, hidden: [8]}", "critic={kind: mlp, hidden: [8]}")
CONV = ("generator={kind: conv, width: 4}", "critic={kind: conv, width: 2}")
TINY = (
    *("latent.dim=3", "training.batch_size=8", "training.n_critic=2", "training.average=0.9"),
    "optimizer={generator: {kind: adam, lr: 1.0e-3}, critic: {kind: adam, lr: 1.0e-3}}",
    *("output.log_every=2", "output.sample_every=4", "output.checkpoint_every=2"),
)


def table() -> Any:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 60)
    return np.stack([x, rng.integers(0, 20, 60), 5 * x + rng.normal(0, 0.1, 60)], 1)


TWINS = ("a table, streamed", "fields, streamed", "images, streamed")
"""Cases whose results are compared with resident ones, and no more, for the sake of time."""


def write_cifar10(root: Path) -> dict[str, str]:
    """Six batches of 8 made-up images, and their checksums."""
    (root / "cifar-10-batches-py").mkdir(parents=True)
    checksums = {}
    for seed, name in enumerate(Cifar10.checksums):
        rng = np.random.default_rng(seed)
        labels = rng.permutation(10)[:8].tolist()
        content = pickle.dumps({b"data": rng.integers(0, 256, (8, 3072), dtype=np.uint8), b"labels": labels})
        (root / "cifar-10-batches-py" / name).write_bytes(content)
        checksums[name] = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return checksums


def write_data(root: Path, patch: pytest.MonkeyPatch) -> None:
    """A file or folder of each kind below `root`; made-up images pass for the published ones."""
    patch.setattr(platformdirs, "user_cache_dir", lambda *_, **__: str(root / "cache"))
    rng = np.random.default_rng(0)
    np.savetxt(root / "table.csv", table(), delimiter=",", header="x,n,y", comments="", fmt="%.17g")
    np.save(root / "series.npy", rng.normal(size=(40, 2, 8)).astype(np.float32))
    np.save(root / "fields.npy", rng.normal(size=(40, 8, 12, 2)))  # channels last
    np.save(root / "volumes.npy", rng.integers(0, 2, (40, 1, 4, 4, 4)).astype(bool))
    grey = rng.integers(0, 256, (40, 8, 12), dtype=np.uint8)
    np.savez(root / "grey.npz", samples=grey, labels=np.array(["cat", "dog"])[np.arange(40) % 2])
    write_folder(root / "pictures", 40, ("red", "green", "blue"))
    write_made_up_mnist(root)
    checksums = made_up_checksums(root)
    for kind in (Mnist, FashionMnist, Kmnist):
        if kind is not Mnist:
            shutil.copytree(root / "MNIST", root / kind.title)
        patch.setattr(kind, "checksums", checksums)
    patch.setattr(Cifar10, "checksums", write_cifar10(root))
    patch.setattr(StackedMnist, "HELDOUT", 40)


LABELS, COLUMNS = "condition={kind: labels}", "condition={kind: columns, names: [n, x]}"
CASES: dict[str, tuple[str, ...]] = {
    "normal": ("data={kind: normal}", *MLP),
    "points": ("data={kind: points, shape: grid}", *MLP),
    "a table": ("data={kind: arrays, path: ROOT/table.csv}", *MLP),
    "a table, streamed": ("data={kind: arrays, path: ROOT/table.csv, resident: false}", *MLP),
    "a table with given columns": ("data={kind: arrays, path: ROOT/table.csv}", COLUMNS, *MLP),
    "a table with given columns, streamed": (
        *("data={kind: arrays, path: ROOT/table.csv, resident: false, scale: minmax}", COLUMNS, *MLP),
    ),
    "series": ("data={kind: arrays, path: ROOT/series.npy, scale: none}", *MLP),
    "fields": ("data={kind: arrays, path: ROOT/fields.npy, channels: last}", *CONV),
    "fields, streamed": ("data={kind: arrays, path: ROOT/fields.npy, channels: last, resident: false}", *CONV),
    "grey fields by class": (
        *("data={kind: arrays, path: ROOT/grey.npz, channels: none, labels: labels, scale: minmax}", LABELS, *CONV),
    ),
    "wide rows as series": ("data={kind: arrays, path: ROOT/table.csv, channels: none}", *MLP),
    "volumes, streamed": ("data={kind: arrays, path: ROOT/volumes.npy, resident: false}", *MLP),
    "images": ("data={kind: images, path: ROOT/pictures, size: 8, heldout: 0.3}", *CONV),
    "images, streamed": ("data={kind: images, path: ROOT/pictures, size: 8, resident: false}", *MLP),
    "images by class": ("data={kind: images, path: ROOT/pictures, size: 8, heldout: 0.3}", LABELS, *CONV),
    "images by class, streamed": (
        *("data={kind: images, path: ROOT/pictures, size: 8, heldout: 0.3, resident: false}", LABELS, *CONV),
    ),
    "mnist": ("data={kind: mnist, root: ROOT}", *CONV),
    "mnist by class": ("data={kind: mnist, root: ROOT}", LABELS, *CONV),
    "fashion_mnist by class": ("data={kind: fashion_mnist, root: ROOT}", LABELS, *MLP),
    "kmnist": ("data={kind: kmnist, root: ROOT}", *MLP),
    "cifar10": ("data={kind: cifar10, root: ROOT}", *CONV),
    "cifar10 by class": ("data={kind: cifar10, root: ROOT}", LABELS, *CONV),
    "stacked_mnist": ("data={kind: stacked_mnist, root: ROOT, triples: 200}", *CONV),
    "stacked_mnist by class": ("data={kind: stacked_mnist, root: ROOT, triples: 200}", LABELS, *MLP),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with data of every kind."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("data")
        write_data(root, patch)
        yield root


def config_of(root: Path, case: str, *more: str, iterations: int = 4) -> RunConfig:
    overrides = [text.replace("ROOT", str(root)) for text in (*CASES[case], *TINY, *more)]
    return load_config("mnist_gp", [*overrides, f"training.iterations={iterations}"])


def without_speed(run: Path) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if not name.startswith("speed/")} for line in metrics(run)]


def test_every_kind_has_a_case() -> None:
    kinds = {text.split("kind: ")[1].split(",")[0].rstrip("}") for text, *_ in CASES.values()}
    assert kinds == {spec.model_fields["kind"].default for spec in KINDS}


@pytest.mark.parametrize("case", [case for case in CASES if case not in TWINS])
def test_a_run_goes_on_to_the_bit_samples_evaluates_and_plots(case: str, root: Path, tmp_path: Path) -> None:
    config = config_of(root, case)
    run = wgan.train(config, tmp_path / "run", device="cpu")
    lost = tmp_path / "lost"
    shutil.copytree(run, lost)
    newest = checkpoints(lost)[0]
    newest.unlink()  # as if the process had been killed before it was written
    wgan.train(config, lost, resume=True, device="cpu")
    assert newest.read_bytes() == checkpoints(run)[0].read_bytes()
    assert without_speed(lost) == without_speed(run)
    picture = Path("samples") / "000000004.png"
    assert (lost / picture).read_bytes() == (run / picture).read_bytes()

    loaded = wgan.load_run(run, device="cpu")
    asked = sampling.request(loaded, range(6))
    samples = loaded.sample(asked.seeds, asked.condition)
    assert samples.shape == (6, *config.data.sample_shape)
    assert loaded.decode(samples).shape[0] == 6
    one = loaded.sample([4])
    assert torch.allclose(one, samples[4:5], atol=1e-5)
    sampling.check_out(tmp_path / "x.npz", loaded)
    sampling.write(sampling.Drawn(samples, asked.names), tmp_path / "x.npz", loaded)
    with np.load(tmp_path / "x.npz") as file:
        assert np.array_equal(file["samples"], loaded.decode(samples))

    figures = evaluate(loaded, 6, 0)
    assert figures["step"] == 4
    assert figures["truth/w1"] > 0
    assert figures["truth/w1_floor"] > 0
    assert all(np.isfinite(value) for value in figures.values())
    named = {name.partition("/")[0] for line in [*metrics(run), figures] for name in line if "/" in name}
    assert named <= set(FAMILIES)
    assert ("condition/accuracy" in figures) == (LABELS in CASES[case])
    assert ("modes/covered" in figures) == (config.data.kind in ("points", "stacked_mnist"))

    if config.condition is not None:
        return  # its plot is that of the same kind without
    save(curves_figure(read_curves([run])), tmp_path / "plot.png")
    assert np.asarray(Image.open(tmp_path / "plot.png").convert("L")).std() > 1


@pytest.mark.parametrize(
    ("resident", "streamed"), [(case, f"{case}, streamed") for case in CASES if f"{case}, streamed" in CASES]
)
def test_resident_never_changes_a_result(resident: str, streamed: str, root: Path) -> None:
    data = CASES[streamed][0].replace(", resident: false", "")
    one, other = (Trainer(config_of(root, streamed, *more), CPU) for more in ((data,), ()))
    for _ in range(9):  # more than a pass
        one.iterate()
        other.iterate()
    mine, others = one.state_dict(), other.state_dict()
    assert str(mine["batches"]) == str(others["batches"])
    for name, weight in mine["generator"].items():
        assert torch.equal(weight, others["generator"][name])


KILLED = {"a table with given columns, streamed": 20, "images by class, streamed": 10}
"""Kinds of data, and how often their runs write checkpoints."""


def started(config: Path, run: Path) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "wgan_cli", "train", f"--config={config}", f"--out={run}", "--device=cpu"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(config.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def killed(process: subprocess.Popen[bytes], run: Path) -> None:
    """Ends a run in the middle, once it has written a checkpoint."""
    try:
        wait_for(lambda: process.poll() is not None or bool(checkpoints(run)))
        had_ended = process.poll()
    finally:
        process.kill()
    _, said = process.communicate()
    assert had_ended is None, said.decode()


def test_a_killed_run_goes_on_to_the_bit(root: Path, tmp_path: Path) -> None:
    quiet = ("output.log_every=1000000", "output.sample_every=1000000")
    processes, runs = [], [tmp_path / "one", tmp_path / "other"]
    for run, (case, every) in zip(runs, KILLED.items(), strict=True):
        config = config_of(root, case, *quiet, f"output.checkpoint_every={every}", iterations=1_000_000)
        run.with_suffix(".yaml").write_text(config.to_yaml())
        processes.append(started(run.with_suffix(".yaml"), run))  # side by side, as most of the time is their start
    for process, run in zip(processes, runs, strict=True):
        killed(process, run)
    for run, (case, every) in zip(runs, KILLED.items(), strict=True):
        last = int(checkpoints(run)[0].stem) + 30
        config = config_of(root, case, *quiet, f"output.checkpoint_every={every}", iterations=last)
        wgan.train(config, run, resume=True, device="cpu")
        undisturbed = wgan.train(config, tmp_path / f"{run.name} undisturbed", device="cpu")
        assert [file.name for file in checkpoints(run)] == [file.name for file in checkpoints(undisturbed)]
        assert checkpoints(run)[0].read_bytes() == checkpoints(undisturbed)[0].read_bytes()


def weights(trainer: Trainer) -> torch.Tensor:
    networks = trainer.networks.named().values()
    return torch.cat([weight.detach().flatten() for network in networks for weight in network.parameters()])


def check_compiled_steps(root: Path, case: str) -> None:
    eager, compiled = (Trainer(config_of(root, case, f"training.engine={name}"), CPU) for name in ("eager", "compile"))
    before = weights(eager)
    for _ in range(10):
        eager.iterate()
        compiled.iterate()
    assert (weights(eager) - weights(compiled)).norm() < 1e-10 * weights(eager).norm()
    assert (weights(eager) - before).norm() > 0.01


@pytest.mark.parametrize("case", ["mnist by class", "images by class, streamed", "a table with given columns"])
def test_traced_conditional_steps_are_eager_ones(
    case: str, root: Path, in_float64: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda traced, **_: traced)  # the graph alone, without its kernels
    check_compiled_steps(root, case)


def test_compiled_conditional_steps_are_eager_ones(root: Path, in_float64: None) -> None:
    check_compiled_steps(root, "a table with given columns")


def test_the_state_says_what_data_it_was_trained_on(root: Path, tmp_path: Path) -> None:
    run = wgan.train(config_of(root, "a table with given columns"), tmp_path / "run", device="cpu")
    state = read_checkpoint(checkpoints(run)[0])["data"]
    values = table()
    assert state["scaling"]["shift"] == pytest.approx(values.mean(0))
    assert state["samples"] == 54
    assert state["condition"]["names"] == ["n", "x"]
    assert state["condition"]["ranges"] == [[values[:, i].min(), values[:, i].max()] for i in (1, 0)]


Change = Callable[[Path], object]


def _other_pictures(root: Path) -> None:
    noise().save(root / "pictures" / "red" / "000.png")


def _other_table(root: Path) -> None:
    values = table()
    values[0, 2] += 1e-6
    np.savetxt(root / "table.csv", values, delimiter=",", header="x,n,y", comments="", fmt="%.17g")


@pytest.mark.parametrize(
    ("case", "change"), [("images by class", _other_pictures), ("a table with given columns", _other_table)]
)
def test_a_conditional_run_refuses_other_data(
    case: str, change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_data(tmp_path, monkeypatch)
    run = wgan.train(config_of(tmp_path, case), tmp_path / "run", device="cpu")
    change(tmp_path)
    with pytest.raises(wgan.BadInputError, match="the data has changed since the run began"):
        wgan.train(config_of(tmp_path, case, iterations=6), run, resume=True, device="cpu")
