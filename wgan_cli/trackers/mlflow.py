"""MLflow: a local store, or the server that $MLFLOW_TRACKING_URI names."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from wgan_cli.config.run_config import RunConfig
from wgan_cli.data.pixels import Pixels
from wgan_cli.trackers.base import PROJECT, Tracker, remember, remembered, tags

LONGEST = 6000
"""Of a parameter's value, in characters: MLflow refuses longer ones."""
STATUS = {"finished": "FINISHED", "diverged": "FAILED", "stopped": "KILLED"}


class MlflowTracker(Tracker):
    """A run of MLflow with the config as its parameters, in the experiment of $MLFLOW_EXPERIMENT_NAME, else `wgan`."""

    def __init__(self, run: Path, config: RunConfig, step: int) -> None:
        from mlflow.entities import Metric, Param
        from mlflow.environment_variables import MLFLOW_EXPERIMENT_NAME
        from mlflow.tracking import MlflowClient

        # Else it writes the run's address to stdout when it ends, which has only the result.
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        self._client, self._metric = MlflowClient(), Metric
        known = remembered(run, "mlflow")
        if known is None:
            name = MLFLOW_EXPERIMENT_NAME.get() or PROJECT
            experiment = self._client.get_experiment_by_name(name)
            place = experiment.experiment_id if experiment else self._client.create_experiment(name)
            made = self._client.create_run(place, run_name=run.absolute().name, tags=tags(config))
            known = made.info.run_id
            remember(run, "mlflow", known)
            settings = [Param(key, str(value)[:LONGEST]) for key, value in config.flat().items()]
            self._client.log_batch(known, params=settings)
        self._run = known
        self._client.update_run(known, status="RUNNING")

    def scalars(self, figures: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        metrics = [self._metric(key, value, now, step) for key, value in figures.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def picture(self, pixels: Pixels, step: int) -> None:
        self._client.log_image(self._run, pixels, key="samples", step=step)

    def close(self, state: str) -> None:
        self._client.set_terminated(self._run, STATUS[state])
