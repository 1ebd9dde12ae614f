import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wgan_cli.errors import BadInputError
from wgan_cli.runs.places import holds_run
from wgan_cli.runs.readers import read_grids, read_metrics, read_status, read_threads


def test_a_config_makes_a_folder_a_run(run: Path, tmp_path: Path) -> None:
    assert holds_run(run)
    assert not holds_run(tmp_path)
    assert not holds_run(tmp_path / "nothing")
    (tmp_path / "config.yaml").write_text("seed: 0")
    assert not holds_run(tmp_path)  # the user's own config


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "critic/gap": 0.5}\n{"step": 2}\n{"ste')
    assert read_metrics(tmp_path) == [{"step": 1, "critic/gap": 0.5}, {"step": 2}]


def test_figures_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"its metrics\.jsonl can't be read"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("damaged", [b"garbage", b"\xff\xfe", b"[1]", b"5", b'{"critic/gap": 1}', b'{"step": "x"}'])
def test_damaged_lines_are_left_out_and_counted(
    tmp_path: Path, damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + damaged + b'\n{"step": 2}\n')
    assert read_metrics(tmp_path) == [{"step": 1}, {"step": 2}]
    assert "1 damaged lines" in caplog.text


def test_grids_are_read_in_colour_by_iteration(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    for step in (20, 1000, 3):
        Image.fromarray(np.full((2, 3), step % 256, np.uint8)).save(tmp_path / "samples" / f"{step:09d}.png")
    grids = read_grids(tmp_path)
    assert list(grids) == [3, 20, 1000]
    assert {step: (grid.shape, grid.max()) for step, grid in grids.items()} == {
        3: ((2, 3, 3), 3),
        20: ((2, 3, 3), 20),
        1000: ((2, 3, 3), 1000 % 256),
    }


def test_other_files_among_the_grids_are_left_alone(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / "samples" / "000000020 copy.png").write_bytes(b"")
    (run / "samples" / "000000020.png").write_bytes(b"\x89PNG")
    assert read_grids(run) == {}
    assert "000000020.png" in caplog.text
    assert "copy" not in caplog.text


def test_the_number_of_threads_is_read_back(run: Path) -> None:
    assert read_threads(run) == json.loads((run / "environment.json").read_text())["threads"]


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"threads": "many"}'])
def test_a_run_without_a_number_of_threads_has_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "environment.json").write_text(content)
    assert read_threads(tmp_path) is None


def test_the_status_is_read_back(run: Path) -> None:
    assert (read_status(run)["state"], read_status(run)["step"]) == ("finished", 2)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"step": "fifty"}'])
def test_a_status_that_cannot_be_read_is_empty_and_told(
    tmp_path: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    if content is not None:
        (tmp_path / "status.json").write_text(content)
    assert read_status(tmp_path) == {}
    told = f"{tmp_path / 'status.json'}: is damaged, so the run's state is not known"
    assert caplog.messages == [told] * (content is not None)
