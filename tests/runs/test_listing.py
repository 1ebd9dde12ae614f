import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.runs.helpers import FIGURES, make_run
from wgan_cli.config.load import load_config
from wgan_cli.errors import BadInputError, ExitCode, WganError
from wgan_cli.runs.folder import RunFolder
from wgan_cli.runs.listing import RunSummary, find_runs, summaries

CPU = torch.device("cpu")


def summary(path: Path) -> RunSummary:
    (found,), faults = summaries(path)
    assert faults == []
    return found


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """The files of a run that is going on, on a machine of which nothing is known here."""
    path, config = tmp_path / "live", load_config("normal_gp", ["training.iterations=40", "output.log_every=10"])
    path.mkdir()
    with RunFolder(path, config, 0, CPU) as folder:
        folder.scalars(FIGURES, 10)
        shutil.copytree(path, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_run_whose_process_has_ended_here_is_stopped_at_once(live: Path) -> None:
    status = json.loads((live / "status.json").read_text())
    for change, state in (
        ({}, "running"),
        ({"pid": 2**22 + 1}, "stopped"),  # above the largest number of a process
        ({"pid": 2**22 + 1, "host": "elsewhere"}, "running"),
        ({"pid": "x"}, "running"),
        ({"pid": 10**30}, "running"),
        ({"pid": 0}, "running"),
    ):
        (live / "status.json").write_text(json.dumps({**status, **change}))
        assert summary(live).state == state, change


def test_runs_are_found_at_any_depth(tmp_path: Path) -> None:
    for name in ("b", "a/deep", ".hidden"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").touch()
        (tmp_path / name / ".lock").touch()
    (tmp_path / "config.yaml").touch()  # the user's own, beside the runs
    assert list(find_runs(tmp_path)) == [tmp_path / "a" / "deep", tmp_path / "b"]
    assert list(find_runs(tmp_path / "b")) == [tmp_path / "b"]


def test_links_show_no_run_twice_and_have_an_end(tmp_path: Path) -> None:
    make_run(tmp_path / "b" / "run", 10)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "latest").symlink_to(tmp_path / "b" / "run")  # two levels down, and first by name
    (tmp_path / "a" / "broken").symlink_to(tmp_path / "nothing")
    (tmp_path / "0").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    outside = tmp_path / "runs"
    outside.mkdir()
    (outside / "linked").symlink_to(tmp_path / "b" / "run")
    assert list(find_runs(tmp_path)) == [tmp_path / "b" / "run"]
    assert list(find_runs(outside)) == [outside / "linked"]


def test_damaged_files_hide_no_run(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        make_run(tmp_path / name, 10)
    with (tmp_path / "a" / "metrics.jsonl").open("a") as file:
        file.write("[1]\n")
    (tmp_path / "b" / "status.json").write_text('{"state": "finished", "step": "many"}')
    (tmp_path / "c" / "config.yaml").write_text("seed: nothing\n")
    found, faults = summaries(tmp_path)
    assert [(run.name, run.step) for run in found] == [("a", 10), ("b", 10)]
    assert [str(tmp_path / "c") in fault for fault in faults] == [True]


@pytest.mark.skipif(os.name == "nt", reason="has other permissions")
def test_a_folder_that_cannot_be_read_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_run(tmp_path / "run", 10)
    (tmp_path / "closed").mkdir()
    (tmp_path / "link").touch()
    originals = Path.iterdir, Path.is_dir

    def refuse(path: Path, number: int) -> Any:  # root may read everything, so the mode of a folder is no test
        if path.name == ("closed", "link")[number]:
            raise PermissionError(13, "Permission denied", str(path))
        return originals[number](path)

    monkeypatch.setattr(Path, "iterdir", lambda path: refuse(path, 0))
    monkeypatch.setattr(Path, "is_dir", lambda path: refuse(path, 1))
    assert list(find_runs(tmp_path)) == [tmp_path / "run"]
    for name in ("closed", "link"):
        assert f"{tmp_path / name}: can't be read (Permission denied); left out" in caplog.text


def test_each_state_is_listed(tmp_path: Path) -> None:
    make_run(tmp_path / "done", 10, 40)
    make_run(tmp_path / "left", 10, error=WganError("SIGTERM", ExitCode.STOPPED))
    make_run(tmp_path / "full", 10, error=OSError(28, "No space left on device"))
    make_run(tmp_path / "lost", 10, 40, error=OSError(28, "No space left on device"))
    make_run(tmp_path / "deep" / "bad", 10, error=WganError("nan", ExitCode.DIVERGED))
    found, faults = summaries(tmp_path)
    assert faults == []
    states = {run.name: run.state for run in found}
    ended = {"full": "stopped", "left": "stopped", "lost": "stopped"}  # the last checkpoint of `lost` was not saved
    assert states == {"deep/bad": "diverged", "done": "finished"} | ended


def test_a_live_run_is_known_by_its_files_alone(live: Path) -> None:
    found = summary(live)
    assert (found.state, found.step, found.iterations) == ("running", 10, 40)
    assert (found.gap, found.w1, found.truth, found.iterations_per_second) == (0.5, 0.25, None, 10.0)


def test_a_run_that_fell_silent_was_killed(live: Path) -> None:
    for silent, state in ((50, "running"), (70, "stopped")):  # 60 s, and three logging intervals of a second
        then = time.time() - silent
        for file in live.rglob("*"):
            os.utime(file, (then, then))
        assert summary(live).state == state


def test_a_run_that_is_made_longer_is_no_longer_finished(tmp_path: Path) -> None:
    make_run(tmp_path / "run", 10, 40)
    config = load_config(str(tmp_path / "run" / "config.yaml"), ["training.iterations=50"])
    (tmp_path / "run" / "config.yaml").write_text(config.to_yaml())
    assert summary(tmp_path / "run").state == "stopped"


def test_the_newest_truth_is_listed_and_an_incomplete_line_left_out(tmp_path: Path) -> None:
    make_run(tmp_path / "run", 10, 20, 40)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 50, "critic/g')
    found = summary(tmp_path / "run")
    assert (found.step, found.truth) == (40, 0.2)


def test_a_damaged_run_is_named_and_the_others_listed(tmp_path: Path) -> None:
    make_run(tmp_path / "good", 10)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.yaml").write_text("name: somebody else's")
    (tmp_path / "odd" / ".lock").touch()
    make_run(tmp_path / "young")
    (tmp_path / "young" / "metrics.jsonl").unlink()
    (tmp_path / "young" / "status.json").write_text("{")
    found, faults = summaries(tmp_path)
    assert [run.name for run in found] == ["good", "young"]
    assert "odd/config.yaml" in faults[0]
    with pytest.raises(BadInputError, match="no such folder"):
        summaries(tmp_path / "nothing")
