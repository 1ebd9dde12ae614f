"""The scripts for clusters and sweeps, run as they are, with stand-ins for Slurm's commands."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import has_logged, wait_for
from tests.wgan_server import program

SCRIPTS = Path(__file__).parents[1] / "scripts"
TINY = ("--config", "normal_gp", "--device", "cpu", "--set", "generator.hidden=[8]", "--set", "critic.hidden=[8]")

# Starts SLURM_NTASKS tasks, passes USR1 on, ends all where one fails, and exits with the largest code: as srun does.
SRUN = """#!{python}
import os, signal, subprocess, sys
size = int(os.environ["SLURM_NTASKS"])
command = sys.argv[1:]
assert "--kill-on-bad-exit=1" in command
while command[0].startswith("-"):
    command.pop(0)
tasks = [
    subprocess.Popen(command, env=os.environ | {{"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}})
    for rank in range(size)
]
signal.signal(signal.SIGUSR1, lambda *_: [task.send_signal(signal.SIGUSR1) for task in tasks])
sys.exit(max(task.wait() for task in tasks))
"""
# Runs the array's tasks one after the other, from a copy of the script, as Slurm does.
SBATCH = """#!/usr/bin/env bash
echo "$@" >>"$STAND_IN_LOG"
array=
while [[ $1 == --* ]]; do
    case $1 in
    --array=*) array=${{1#--array=}} ;;
    --export=ALL,*) export "${{1#--export=ALL,}}" ;;
    esac
    shift
done
copy=$(mktemp) && cp "$1" "$copy" && shift
for task in ${{array//,/ }}; do
    SLURM_ARRAY_TASK_ID=$task SLURM_JOB_ID=7$task SLURM_NTASKS=1 bash "$copy" "$@" || exit
done
"""
SCONTROL = """#!/usr/bin/env bash
[ "$1" = requeue ] && echo "$@" >>"$STAND_IN_LOG"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The shell's environment on a cluster whose commands are stand-ins; they write to $STAND_IN_LOG."""
    bin = tmp_path / "bin"
    bin.mkdir()
    for name, text in (("srun", SRUN), ("sbatch", SBATCH), ("scontrol", SCONTROL)):
        (bin / name).write_text(text.format(python=sys.executable))
        (bin / name).chmod(0o755)
    more = {"WGAN": str(program()), "STAND_IN_LOG": str(tmp_path / "log")}
    return os.environ | more | {"PATH": f"{bin}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


def bash(script: str, *arguments: object, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    line = ["bash", str(SCRIPTS / script), *map(str, arguments)]
    return subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def state(run: Path) -> str:
    return str(json.loads((run / "status.json").read_text())["state"])


def test_every_script_passes_shellcheck() -> None:
    scripts = sorted(map(str, SCRIPTS.glob("*.sh")))
    checker = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run([checker, "-x", *scripts], cwd=SCRIPTS.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_job_that_is_warned_saves_itself_and_comes_back(tmp_path: Path, environment: dict[str, str]) -> None:
    job = environment | {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "77"}
    line = [*TINY, "--out", "run", "--set", "output.log_every=1", "--set"]
    started = subprocess.Popen(
        ["bash", SCRIPTS / "slurm_train.sh", *line, "training.iterations=100000"],
        cwd=tmp_path,
        env=job,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: has_logged(tmp_path / "run"))
    started.send_signal(signal.SIGUSR1)  # what --signal=B:USR1@120 sends to the script alone
    _, err = started.communicate(timeout=60)
    assert started.returncode == 0, err
    assert "SIGUSR1: stopped at iteration" in err
    assert (tmp_path / "log").read_text() == "requeue 77\n"
    assert state(tmp_path / "run") == "stopped"
    step = json.loads((tmp_path / "run" / "status.json").read_text())["step"]
    done = bash("slurm_train.sh", *line, f"training.iterations={step + 2}", cwd=tmp_path, env=job)
    assert done.returncode == 0, done.stderr
    assert state(tmp_path / "run") == "finished"
    assert (tmp_path / "log").read_text() == "requeue 77\n"  # a job that is done does not come back


def test_a_failed_job_exits_with_its_code_and_a_folder_is_needed(tmp_path: Path, environment: dict[str, str]) -> None:
    job = environment | {"SLURM_NTASKS": "1", "SLURM_JOB_ID": "77"}
    assert bash("slurm_train.sh", *TINY, cwd=tmp_path, env=job).returncode == 2
    done = bash("slurm_train.sh", *TINY, "--out", "run", "--set", "seed=x", cwd=tmp_path, env=job)
    assert done.returncode == 2
    assert "seed" in done.stderr
    assert not (tmp_path / "log").exists()


def test_an_array_trains_what_is_not_finished(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "sweep.txt").write_text("# two runs\nseed=0\n\n'lipschitz={kind: clip, bound: 0.01}' seed=1 # x\n")
    line = ("sweep.txt", "runs/s", *TINY, "--set", "training.iterations=3", "--", "--time=1:00:00")
    done = bash("slurm_sweep.sh", *line, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    runs = [tmp_path / "runs" / "s" / name for name in ("seed=0", "lipschitz=kind-clip,bound-0.01,seed=1")]
    assert [state(run) for run in runs] == ["finished", "finished"]
    assert "bound: 0.01" in (runs[1] / "config.yaml").read_text()
    submitted = (tmp_path / "log").read_text()
    assert "--array=1,2" in submitted
    assert "--time=1:00:00" in submitted
    status = json.loads((runs[0] / "status.json").read_text())
    (runs[0] / "status.json").write_text(json.dumps(status | {"state": "stopped"}))
    assert bash("slurm_sweep.sh", *line, cwd=tmp_path, env=environment).returncode == 0
    assert "--array=1 " in (tmp_path / "log").read_text().splitlines()[1]
    (runs[0] / "status.json").write_text(json.dumps(status, indent=2))
    again = bash("slurm_sweep.sh", *line, cwd=tmp_path, env=environment)
    assert "all 2 runs are finished" in again.stderr
    assert len((tmp_path / "log").read_text().splitlines()) == 2


def test_a_local_sweep_trains_all_it_can_and_names_the_others(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "sweep.txt").write_text("seed=0\nseed=-1\nseed=2\n")
    line = ("sweep.txt", "runs", 2, *TINY, "--set", "training.iterations=3")
    done = bash("local_sweep.sh", *line, cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert "seed=-1: exit code 2; see runs/seed=-1.log" in done.stderr
    assert "seed" in (tmp_path / "runs" / "seed=-1.log").read_text()
    assert [state(tmp_path / "runs" / name) for name in ("seed=0", "seed=2")] == ["finished", "finished"]
    (tmp_path / "sweep.txt").write_text("seed=0\nseed=2\n")
    again = bash("local_sweep.sh", *line, cwd=tmp_path, env=environment)
    assert (again.returncode, again.stderr) == (0, "seed=0: finished before\nseed=2: finished before\n")


def test_a_local_sweep_that_is_stopped_goes_on(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "sweep.txt").write_text("seed=0\nseed=1\nseed=2\n")
    line = [*TINY, "--set", "output.log_every=1", "--set", "training.iterations=100000"]
    started = subprocess.Popen(
        ["bash", SCRIPTS / "local_sweep.sh", "sweep.txt", "runs", "2", *line],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: all(has_logged(tmp_path / "runs" / name) for name in ("seed=0", "seed=1")))
    started.send_signal(signal.SIGTERM)
    _, err = started.communicate(timeout=60)
    assert started.returncode == 75, err
    assert [state(tmp_path / "runs" / name) for name in ("seed=0", "seed=1")] == ["stopped", "stopped"]
    assert not (tmp_path / "runs" / "seed=2").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# nothing\n\n", "holds no runs"),
        ("seed=0\n'seed=0'\n", "two runs would be named seed=0"),
        ("'lipschitz={kind: clip}\n", "a quote is not closed"),
    ],
)
def test_a_bad_sweep_is_refused(tmp_path: Path, environment: dict[str, str], content: str, message: str) -> None:
    (tmp_path / "sweep.txt").write_text(content)
    for script, more in (("local_sweep.sh", ["1"]), ("slurm_sweep.sh", [])):
        done = bash(script, "sweep.txt", "runs", *more, *TINY, cwd=tmp_path, env=environment)
        assert done.returncode == 2
        assert message in done.stderr
    assert not (tmp_path / "runs").exists()
