"""Ranks are processes here, as they are in a cluster; they meet on this machine through gloo."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tests import rank_worker
from tests.helpers import has_logged, metrics, wait_for
from tests.wgan_server import program
from wgan_cli.config.load import load_config
from wgan_cli.errors import BadInputError, ExitCode, WganError
from wgan_cli.runs.checkpoints import read_newest
from wgan_cli.training import distributed
from wgan_cli.training.distributed import ALONE, World, find_world, joined

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]
TRAIN = ("train", "--config", "normal_gp", "--device", "cpu", "--set", "generator.hidden=[8]")
Command = tuple[object, ...]
Ranks = list[subprocess.Popen[str]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def start_rank(command: Command, rank: int, size: int, port: int, slurm: bool = False) -> subprocess.Popen[str]:
    """`command` as torchrun or srun would start it."""
    names = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID") if slurm else ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    common = {**os.environ, "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    if slurm:  # which sets none: the ranks find how many threads are the fastest, together
        del common["OMP_NUM_THREADS"]
    return subprocess.Popen(
        list(map(str, command)),
        env=common | dict(zip(names, map(str, (rank, size, rank)), strict=True)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def started(size: int, *command: object, slurm: bool = False) -> Ranks:
    """`command` on each of `size` ranks."""
    port = free_port()
    return [start_rank(command, rank, size, port, slurm) for rank in range(size)]


def ended(ranks: Ranks, within: float = 60) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each rank."""
    try:
        outputs = [rank.communicate(timeout=within) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    return [(rank.returncode, out, err) for rank, (out, err) in zip(ranks, outputs, strict=True)]


def worst_difference(one: Path, other: Path) -> float:
    """The largest relative difference between two files of weights, tensor by tensor."""
    worst = 0.0
    others = torch.load(other)
    for network, weights in torch.load(one).items():
        for name in weights:
            value, twin = weights[name].double(), others[network][name].double()
            worst = max(worst, ((value - twin).norm() / value.norm().clamp_min(1e-12)).item())
    return worst


@pytest.mark.usefixtures("in_float64")
def test_ranks_give_the_weights_of_one_process(tmp_path: Path, made_up_mnist: Path) -> None:
    """2 and 3 ranks, and 3 that go on from what 2 saved; each strategy, mlp and conv, in float64."""
    one = tmp_path / "1"
    one.mkdir()
    rank_worker.train_cases(one, made_up_mnist, ALONE)
    worker = [sys.executable, "-m", "tests.rank_worker", str(tmp_path), str(made_up_mnist)]
    done = subprocess.run(worker, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=200)
    assert done.returncode == 0, done.stderr
    for i, (case, _) in enumerate(rank_worker.cases(made_up_mnist)):
        for path in (f"2/{i}.pt", f"3/{i}.pt", f"3/{i}.resumed.pt"):
            difference = worst_difference(one / f"{i}.pt", tmp_path / path)
            assert difference < 1e-6, f"{case}, {path}: {difference}"


@pytest.mark.parametrize("slurm", [False, True])
def test_the_first_rank_alone_writes_and_prints(tmp_path: Path, slurm: bool) -> None:
    out = tmp_path / "run"
    line = (*TRAIN, "--set", "training.iterations=40", "--set", "output.log_every=20", "--out", out)
    ranks = ended(started(2, program(), *line, slurm=slurm))
    assert [(code, out) for code, out, _ in ranks] == [(0, f"{out}\n"), (0, "")]
    assert ranks[1][2] == ""
    assert [line["step"] for line in metrics(out)] == [20, 40]
    assert 1 <= json.loads((out / "environment.json").read_text())["threads"] <= (os.cpu_count() or 1)


def test_a_signal_to_one_rank_stops_all_at_the_same_iteration(tmp_path: Path) -> None:
    out = tmp_path / "run"
    line = (*TRAIN, "--set", "training.iterations=100000", "--set", "output.log_every=1", "--out", out, "--resume")
    ranks = started(2, program(), *line)
    wait_for(lambda: has_logged(out))
    ranks[1].send_signal(signal.SIGTERM)
    (first, second) = ended(ranks)
    assert (first[0], second[0]) == (75, 75)
    assert "SIGTERM: stopped at iteration" in first[2]
    assert second[2] == ""
    state = read_newest(out)
    assert state is not None
    assert json.loads((out / "status.json").read_text())["step"] == state["step"]
    alone = (*TRAIN, "--set", f"training.iterations={state['step'] + 3}", "--out", out, "--resume")
    assert ended(started(1, program(), *alone))[0][0] == 0  # one process goes on where two were stopped


def test_a_rank_that_dies_takes_the_others_down(tmp_path: Path) -> None:
    out, port = tmp_path / "run", free_port()
    line = (*TRAIN, "--set", "training.batch_size=30", "--set", "training.iterations=100000", "--out", out)
    # The rank to kill is a process of its own, as SIGKILL would not reach the one behind `program()`.
    commands = ((program(), *line), (sys.executable, "-m", "wgan_cli", *line), (program(), *line))
    ranks = [start_rank(command, rank, 3, port) for rank, command in enumerate(commands)]
    wait_for(lambda: has_logged(out))
    ranks[1].kill()
    first, _, third = ended(ranks, within=60)
    assert (first[0], third[0]) == (1, 1)
    assert "wgan: lost the other ranks" in first[2]
    assert "wgan: rank 2: lost the other ranks" in third[2]
    assert "Traceback" not in first[2] + third[2]


def test_a_fault_on_one_rank_is_reported_once(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").touch()
    for more, message in (
        (("--out", tmp_path / "taken"), "is not empty, and holds no run"),
        (("--out", tmp_path / "new", "--set", "training.batch_size=33"), "33 does not divide over 2 ranks; use 32"),
    ):
        first, second = ended(started(2, program(), *TRAIN, *more))
        assert (first[0], second[0]) == (2, 2)
        assert message in first[2]
        assert second[2] == ""


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


def test_a_single_process_never_communicates() -> None:
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([1.0, 2.0])
    with joined(ALONE, CPU):
        assert not torch.distributed.is_initialized()
        ALONE.average_gradients([weight])
        assert weight.grad.tolist() == [1, 2]
        assert ALONE.mean(torch.tensor([3.0])).tolist() == [3]
        assert ALONE.largest(torch.tensor([3.0])).tolist() == [3]
        assert ALONE.on_all_ranks(lambda: "result") == ALONE.on_first_rank(lambda: "result") == "result"


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


def meeting_place(monkeypatch: pytest.MonkeyPatch, rank: int = 0, **job: str) -> tuple[str, str]:
    """The address and port at which a rank of a Slurm job looks for the others, as its error names them."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("nobody is here")

    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", job)
        patch.setattr(distributed, "rendezvous", fail)
        with (
            pytest.raises(WganError, match=f"rank {rank} of 2 could not connect to the others at") as caught,
            joined(World(rank, 2), CPU),
        ):
            pass
    assert caught.value.exit_code == ExitCode.RUN_FAILED
    assert "nobody is here" in str(caught.value)
    match = re.search(r"others at (\S+):(\d+)", str(caught.value))
    assert match is not None
    return match[1], match[2]


def test_the_ranks_of_a_slurm_job_meet_on_its_first_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = {"gpu03": "gpu03", "gpu[03-05,9],login1": "gpu03", "a-[7,9]": "a-7", "n1,n2": "n1"}
    assert {nodes: meeting_place(monkeypatch, SLURM_JOB_NODELIST=nodes)[0] for nodes in hosts} == hosts
    job = {"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "gpu[03-05]"}
    first, second = (meeting_place(monkeypatch, rank, **job) for rank in (0, 1))
    assert first == second
    assert first[0] == "gpu03"
    assert first[1] != meeting_place(monkeypatch, **job | {"SLURM_STEP_ID": "1"})[1]
    assert meeting_place(monkeypatch, **job | {"MASTER_ADDR": "x", "MASTER_PORT": "5"}) == ("x", "5")
