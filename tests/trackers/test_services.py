"""MLflow and wandb, both without a network."""

import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.errors import BadInputError
from wgan_cli.runs.folder import RunFolder
from wgan_cli.trackers import check_trackers

CPU = torch.device("cpu")


def reporting(*names: str) -> RunConfig:
    return load_config("normal_gp", [f"output.report=[{', '.join(names)}]"])


def write(run: Path, config: RunConfig, start: int, error: Exception | None = None) -> None:
    """What a run writes in two iterations after `start`."""
    run.mkdir(exist_ok=True)
    try:
        with RunFolder(run, config, start, CPU) as opened:
            for step in (start + 1, start + 2):
                opened.scalars({"critic/gap": float(step), "truth/w1": 0.5}, step)
            opened.picture(torch.zeros(4, 5, 3, dtype=torch.uint8).numpy, start + 2)
            if error:
                raise error
    except RuntimeError as raised:
        assert raised is error  # noqa: PT017


def test_mlflow_has_the_config_the_figures_and_the_grids_of_a_run_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mlflow = pytest.importorskip("mlflow.tracking")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # in place of a database, whose tables take seconds to make
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "store"))
    config = reporting("mlflow")
    write(tmp_path / "mine", config, 0, RuntimeError("stopped"))
    write(tmp_path / "mine", config, 2)

    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("wgan").experiment_id])
    assert (run.info.run_name, run.info.status) == ("mine", "FINISHED")
    assert run.data.params == {key: str(value) for key, value in config.flat().items()}
    assert run.data.tags["lipschitz"] == "gp"
    history = client.get_metric_history(run.info.run_id, "critic/gap")
    assert [(metric.step, metric.value) for metric in history] == [(1, 1), (2, 2), (3, 3), (4, 4)]
    pictures = [entry.path for entry in client.list_artifacts(run.info.run_id, "images")]
    assert {step for step in range(9) for path in pictures if f"samples+step+{step}+" in path} == {2, 4}
    assert capfd.readouterr().out == ""


def log_records(content: bytes) -> Iterator[bytes]:
    """The records of a file in LevelDB's log format, as wandb writes it, after 7 bytes of its own: in blocks of 32 KiB,
    parts with a checksum, a size and a kind (1: whole, 2: first, 3: middle, 4: last)."""
    position, found = 7, b""
    while position + 7 <= len(content):
        left = 32_768 - position % 32_768
        if left < 7:  # too few bytes for a header end a block
            position += left
            continue
        size, kind = struct.unpack_from("<HB", content, position + 4)
        found += content[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in (1, 4):
            yield found
            found = b""


def test_wandb_keeps_a_run_that_goes_on_in_files_to_be_sent_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    config = reporting("wandb")
    write(tmp_path / "mine", config, 0)
    time.sleep(1.1)  # wandb names its folders by the second
    write(tmp_path / "mine", config, 2)

    known = (tmp_path / "mine" / "wandb.id").read_text().strip()
    parts = sorted((tmp_path / "mine" / "wandb").glob(f"offline-run-*-{known}/run-{known}.wandb"))
    gaps = []
    for part in parts:
        for content in log_records(part.read_bytes()):
            record = Record.FromString(content)
            items = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
            if "critic/gap" in items:
                gaps.append((float(items["iteration"]), float(items["critic/gap"])))
    assert len(parts) == 2
    assert gaps == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert capfd.readouterr().out == ""


def test_a_service_that_can_not_be_reached_does_not_end_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "file" / "store"))
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    (tmp_path / "file").write_text("no folder")
    write(tmp_path / "mine", reporting("tensorboard", "mlflow"), 0)
    assert "output.report: mlflow failed" in caplog.text
    assert '"finished"' in (tmp_path / "mine" / "status.json").read_text()
    assert list((tmp_path / "mine").glob("events.out.tfevents.*"))


def test_without_tensorboard_no_event_file_is_written(tmp_path: Path) -> None:
    write(tmp_path / "mine", reporting(), 0)
    assert not list((tmp_path / "mine").glob("events.out.tfevents.*"))


def test_a_tracker_that_is_not_installed_is_refused_by_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wgan_cli.trackers.find_spec", lambda name: None if name == "wandb" else object())
    check_trackers(reporting("tensorboard", "mlflow"))
    with pytest.raises(BadInputError, match=r"output.report: wandb is not installed; pip install 'wgan\[wandb\]'"):
        check_trackers(reporting("wandb"))


def test_a_tracker_that_is_named_twice_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"output.report: names a tracker twice: mlflow, mlflow"):
        reporting("mlflow", "mlflow")
