"""Ranks are processes here, as they are in a cluster; they meet on this machine through gloo."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests import rank_worker
from tests.conftest import has_logged, wait_for
from wgan_cli.checkpoints import read_newest
from wgan_cli.config import load_config
from wgan_cli.distributed import ALONE, World, _first_host, _slurm_rendezvous, find_world
from wgan_cli.errors import BadInputError

TRAIN = ("-m", "wgan_cli", "train", "--config", "normal_gp", "--device", "cpu", "--set", "generator.hidden=[8]")
Ranks = list[subprocess.Popen[str]]


def started(size: int, *arguments: object, slurm: bool = False) -> Ranks:
    """`python ARGUMENTS` on each of `size` ranks, as torchrun or srun would start it."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = str(probe.getsockname()[1])
    names = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID") if slurm else ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    common = {**os.environ, "MASTER_ADDR": "localhost", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            env=common | dict(zip(names, map(str, (rank, size, rank)), strict=True)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        for rank in range(size)
    ]


def ended(ranks: Ranks, within: float = 60) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each rank."""
    try:
        told = [rank.communicate(timeout=within) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    return [(rank.returncode, out, err) for rank, (out, err) in zip(ranks, told, strict=True)]


def worst_difference(one: Path, other: Path) -> float:
    """The largest relative difference between two files of weights, tensor by tensor."""
    worst = 0.0
    others = torch.load(other)
    for network, weights in torch.load(one).items():
        for name in weights:
            value, twin = weights[name].double(), others[network][name].double()
            worst = max(worst, ((value - twin).norm() / value.norm().clamp_min(1e-12)).item())
    return worst


def test_ranks_give_the_weights_of_one_process(tmp_path: Path, made_up_mnist: Path) -> None:
    """2 and 3 ranks, and 3 that go on from what 2 saved; for clip and gp, mlp and conv, in float64."""
    jobs = {name: tmp_path / name for name in ("one", "two", "three", "resumed")}
    for folder in jobs.values():
        folder.mkdir()
    for name, size in (("one", 1), ("two", 2), ("three", 3), ("resumed", 3)):
        state = [jobs["two"]] if name == "resumed" else []
        for code, _, err in ended(started(size, "-m", "tests.rank_worker", jobs[name], made_up_mnist, *state), 120):
            assert code == 0, err
    for i, (case, _) in enumerate(rank_worker.cases(str(made_up_mnist))):
        for name in ("two", "three", "resumed"):
            difference = worst_difference(jobs["one"] / f"{i}.pt", jobs[name] / f"{i}.pt")
            assert difference < 1e-6, f"{case}, {name}: {difference}"


@pytest.mark.parametrize("slurm", [False, True])
def test_the_first_rank_alone_writes_and_speaks(tmp_path: Path, slurm: bool) -> None:
    out = tmp_path / "run"
    told = ended(
        started(2, *TRAIN, "--set", "training.iterations=40", "--set", "output.log_every=20", "--out", out, slurm=slurm)
    )
    assert [(code, out) for code, out, _ in told] == [(0, f"{out}\n"), (0, "")]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40]


def test_a_signal_to_one_rank_stops_all_at_the_same_iteration(tmp_path: Path) -> None:
    out = tmp_path / "run"
    line = (*TRAIN, "--set", "training.iterations=100000", "--set", "output.log_every=1", "--out", out, "--resume")
    ranks = started(2, *line)
    wait_for(lambda: has_logged(out))
    ranks[1].send_signal(signal.SIGTERM)
    (first, second) = ended(ranks)
    assert (first[0], second[0]) == (75, 75)
    assert "SIGTERM: stopped at iteration" in first[2]
    assert second[2] == ""
    state = read_newest(out)
    assert state is not None
    assert json.loads((out / "status.json").read_text())["step"] == state["step"]
    alone = [*TRAIN, "--set", f"training.iterations={state['step'] + 3}", "--out", out, "--resume"]
    assert ended(started(1, *alone))[0][0] == 0  # one process goes on where two were stopped


def test_a_rank_that_dies_takes_the_others_down(tmp_path: Path) -> None:
    out = tmp_path / "run"
    ranks = started(3, *TRAIN, "--set", "training.batch_size=30", "--set", "training.iterations=100000", "--out", out)
    wait_for(lambda: has_logged(out))
    ranks[1].kill()
    told = ended(ranks, within=60)
    assert [told[0][0], told[2][0]] == [1, 1]
    assert "wgan: lost the other ranks" in told[0][2]
    assert "wgan: rank 2: lost the other ranks" in told[2][2]
    assert "Traceback" not in told[0][2] + told[2][2]


def test_what_one_rank_finds_wrong_all_are_told_of_once(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").touch()
    for more, message in (
        (("--out", tmp_path / "taken"), "is not empty, and holds no run"),
        (("--out", tmp_path / "new", "--set", "training.batch_size=33"), "33 does not divide over 2 ranks; use 32"),
    ):
        told = ended(started(2, *TRAIN, *more))
        assert [code for code, _, _ in told] == [2, 2]
        assert message in told[0][2]
        assert told[1][2] == ""


def test_what_ranks_cannot_do_like_one_process_is_refused() -> None:
    for override, message in (
        ("training.batch_size=100", "training.batch_size: 100 does not divide over 3 ranks; use 99"),
        ("training.batch_size=1", "use 3"),
        ("generator.norm=batch", "generator.norm: batch takes each rank's samples alone"),
        ("critic.dropout=0.1", "critic.dropout: dropout draws other numbers on each rank"),
    ):
        load_config("normal_clip", [override] if override != "training.batch_size=1" else [])
        with pytest.raises(BadInputError, match=message):
            load_config("normal_clip", ["training.batch_size=3", override], ranks=3)


def test_shares_make_up_the_batch() -> None:
    batch = torch.arange(12)
    assert torch.cat([batch[World(rank, 3).share(12)] for rank in range(3)]).equal(batch)
    assert batch[ALONE.share(12)].equal(batch)


def test_a_process_finds_its_place() -> None:
    torchrun = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    slurm = {"SLURM_PROCID": "2", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0"}
    assert find_world({}) == ALONE
    assert find_world(torchrun) == World(5, 8, 1)
    assert find_world(slurm) == World(2, 4, 0)
    assert find_world(slurm | torchrun) == World(5, 8, 1)  # torchrun under srun
    assert find_world(slurm | {"SLURM_STEP_NUM_TASKS": "3"}) == World(2, 3, 0)  # an srun smaller than its job
    assert find_world({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}).size == 1
    for wrong in ({"RANK": "8", "WORLD_SIZE": "8"}, {"RANK": "x", "WORLD_SIZE": "8"}):
        with pytest.raises(BadInputError, match="RANK="):
            find_world(wrong)


def test_the_ranks_of_a_job_meet_on_its_first_machine() -> None:
    hosts = {"gpu03": "gpu03", "gpu[03-05,9],login1": "gpu03", "a-[7,9]": "a-7", "n1,n2": "n1"}
    assert {nodes: _first_host(nodes) for nodes in hosts} == hosts
    job = {"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "gpu[03-05]"}
    first, second = (_slurm_rendezvous(World(rank, 2), job) for rank in (0, 1))
    assert first["MASTER_ADDR"] == "gpu03"
    assert first["MASTER_PORT"] == second["MASTER_PORT"]
    assert first["MASTER_PORT"] != _slurm_rendezvous(World(0, 2), job | {"SLURM_STEP_ID": "1"})["MASTER_PORT"]
    assert _slurm_rendezvous(World(0, 2), job | {"MASTER_ADDR": "x", "MASTER_PORT": "5"})["MASTER_ADDR"] == "x"
