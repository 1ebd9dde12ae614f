import json
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from tests.conftest import Wgan
from wgan_cli.config import load_config
from wgan_cli.errors import BadInputError, ExitCode, WganError
from wgan_cli.run_dir import RunDir
from wgan_cli.runs import RunSummary, summaries

CPU = torch.device("cpu")
FIGURES = {"critic/gap": 0.5, "critic/w1": 0.25, "speed/iterations_per_second": 10.0}


def made(path: Path, *steps: int, error: Exception | None = None) -> None:
    """A run of 40 iterations that logged at `steps`, then ended, by `error` where there is one."""
    path.mkdir(parents=True)
    config = load_config("normal_gp", ["training.iterations=40", "output.log_every=10"])
    with suppress(WganError, OSError), RunDir(path, config, 0, CPU) as folder:
        for step in steps:
            folder.scalars(FIGURES | ({"truth/w1": step / 100} if step < 40 else {}), step)
        if error is not None:
            raise error


def summary(path: Path) -> RunSummary:
    (found,), faults = summaries(path)
    assert faults == []
    return found


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """The files of a run that is going on, on a machine of which nothing is known here."""
    path, config = tmp_path / "live", load_config("normal_gp", ["training.iterations=40", "output.log_every=10"])
    path.mkdir()
    with RunDir(path, config, 0, CPU) as folder:
        folder.scalars(FIGURES, 10)
        shutil.copytree(path, tmp_path / "copy")
    return tmp_path / "copy"


def test_each_state_is_told(tmp_path: Path) -> None:
    made(tmp_path / "done", 10, 40)
    made(tmp_path / "left", 10, error=WganError("SIGTERM", ExitCode.STOPPED))
    made(tmp_path / "full", 10, error=OSError(28, "No space left on device"))
    made(tmp_path / "deep" / "bad", 10, error=WganError("nan", ExitCode.DIVERGED))
    found, faults = summaries(tmp_path)
    assert faults == []
    states = {run.name: run.state for run in found}
    assert states == {"deep/bad": "diverged", "done": "finished", "full": "stopped", "left": "stopped"}


def test_a_live_run_is_told_by_its_files_alone(live: Path) -> None:
    found = summary(live)
    assert (found.state, found.step, found.iterations) == ("running", 10, 40)
    assert (found.gap, found.w1, found.truth, found.iterations_per_second) == (0.5, 0.25, None, 10.0)


def test_a_run_that_fell_silent_was_killed(live: Path) -> None:
    for silent, state in ((50, "running"), (70, "stopped")):  # 60 s, and three logging intervals of a second
        then = time.time() - silent
        for file in live.rglob("*"):
            os.utime(file, (then, then))
        assert summary(live).state == state


def test_a_run_that_goes_on_for_longer_is_no_longer_finished(tmp_path: Path) -> None:
    made(tmp_path / "run", 10, 40)
    config = load_config(str(tmp_path / "run" / "config.yaml"), ["training.iterations=50"])
    (tmp_path / "run" / "config.yaml").write_text(config.to_yaml())
    assert summary(tmp_path / "run").state == "stopped"


def test_the_newest_truth_is_told_and_a_line_being_written_is_left_out(tmp_path: Path) -> None:
    made(tmp_path / "run", 10, 20, 40)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 50, "critic/g')
    found = summary(tmp_path / "run")
    assert (found.step, found.truth) == (40, 0.2)


def test_what_is_damaged_is_named_and_the_rest_listed(tmp_path: Path) -> None:
    made(tmp_path / "good", 10)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.yaml").write_text("name: somebody else's")
    made(tmp_path / "young")
    (tmp_path / "young" / "metrics.jsonl").unlink()
    (tmp_path / "young" / "status.json").write_text("{")
    found, faults = summaries(tmp_path)
    assert [run.name for run in found] == ["good", "young"]
    assert "odd/config.yaml" in faults[0]
    with pytest.raises(BadInputError, match="no such folder"):
        summaries(tmp_path / "nothing")


def test_the_command_prints_a_table_or_json(wgan: Wgan) -> None:
    made(Path("runs/one"), 10, 40)
    made(Path("runs/two"))
    table = wgan("runs").out.splitlines()
    assert table[0].split()[:3] == ["run", "iteration", "state"]
    assert table[1].split()[:8] == ["one", "40", "/", "40", "finished", "0.5", "0.25", "0.1"]
    assert table[2].split()[4:8] == ["stopped", "-", "-", "-"]
    told = json.loads(wgan("runs", "runs", "--json").out)["runs"]
    assert [run["name"] for run in told] == ["one", "two"]
    assert told[0]["gap"] == 0.5
    Path("empty").mkdir()
    assert json.loads(wgan("runs", "empty", "--json").out) == {"runs": []}
    assert wgan("runs", "nowhere").code == 2
