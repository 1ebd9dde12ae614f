from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.trackers.tensorboard import LAYOUT, TensorBoardTracker


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return load_config("normal_gp", ["optimizer.critic.lr=0.002"])


@pytest.fixture
def shown(tmp_path: Path, config: RunConfig) -> EventAccumulator:
    """What TensorBoard shows of a run that was resumed after iteration 1."""
    for start in (0, 1):
        tracker = TensorBoardTracker(tmp_path, config, start)
        for step in (start + 1, start + 2):
            tracker.scalars({"critic/gap": 10.0 * start + step, "truth/w1": 0.5}, step)
        tracker.picture(np.zeros((4, 5, 3), np.uint8), start + 2)
        tracker.close("finished")
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    return events


def test_figures_and_grids_of_a_resumed_run_are_there_once(shown: EventAccumulator) -> None:
    assert [(event.step, event.value) for event in shown.Scalars("critic/gap")] == [(1, 1.0), (2, 12.0), (3, 13.0)]
    assert [image.step for image in shown.Images("samples")] == [3]


def test_gap_bound_and_truth_have_one_chart(shown: EventAccumulator) -> None:
    layout = layout_pb2.Layout()
    (event,) = shown.Tensors("custom_scalars__config__")[-1:]
    layout.ParseFromString(event.tensor_proto.string_val[0])
    (category,) = layout.category
    charts = {chart.title: list(chart.multiline.tag) for chart in category.chart}
    assert charts == {title: tags for title, (_, tags) in LAYOUT["wgan"].items()}
    assert "critic/gap$" in charts["gap, bound and truth"]


def hparams(shown: EventAccumulator, tag: str) -> Any:
    data = plugin_data_pb2.HParamsPluginData()
    data.ParseFromString(shown.SummaryMetadata(tag).plugin_data.content)
    return data


def test_the_settings_are_hyperparameters_of_the_run_itself(shown: EventAccumulator, config: RunConfig) -> None:
    session = hparams(shown, "_hparams_/session_start_info").session_start_info.hparams
    assert set(session) == set(config.flat())
    assert session["optimizer.critic.lr"].number_value == 0.002
    assert session["lipschitz.kind"].string_value == "gp"
    assert session["training.average"].string_value == "None" or session["training.average"].number_value > 0
    experiment = hparams(shown, "_hparams_/experiment").experiment
    assert [info.name.tag for info in experiment.metric_infos] == ["critic/w1_low", "truth/w1"]
