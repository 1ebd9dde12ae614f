"""The loop: iterations, and below one "is it time?" line figures, grids, checkpoints and stopping."""

import logging
import signal
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from wgan_cli.checkpoints import read_newest
from wgan_cli.config import RunConfig, load_config
from wgan_cli.devices import repeatable
from wgan_cli.distributed import ALONE, World
from wgan_cli.engine import pick_threads, tune_process
from wgan_cli.errors import BadInputError, ExitCode, WganError
from wgan_cli.reporting import Reporter, check_state, in_short
from wgan_cli.run_dir import RunDir, holds_run, occupied, threads_before
from wgan_cli.signals import Signals
from wgan_cli.trainer import Trainer

log = logging.getLogger("wgan")


def run(
    config: RunConfig,
    device: torch.device,
    *,
    out: Path | None,
    name: str,
    resume: bool = False,
    world: World = ALONE,
) -> Path:
    """Trains a new run, or goes on with the one in `out`, to its last iteration. Returns its folder.

    `name` is the stem of a numbered folder where `out` is None. Whatever can be wrong with the input is found
    before a folder is made. Under ranks every one calls this, and the first alone reads and writes the folder.
    Raises `WganError` for bad input, and for a run that fails, diverges or is stopped.
    """
    with ExitStack() as stack:
        signals = stack.enter_context(Signals())
        stack.enter_context(repeatable(config.training.deterministic))
        world.first(config.data.fetch)
        trainer = world.agree(lambda: _built(config, device, world))
        path = world.first(lambda: stack.enter_context(occupied(out, name, resume=resume)))
        state = world.first(lambda: _state_to_go_on_from(config, path))
        if state is not None:
            world.agree(lambda: trainer.load_state_dict(state))
        if trainer.step == config.training.iterations:
            return path  # done before: nothing to add, nothing to touch
        tune_process(config.training.matmul, pick_threads(trainer.work, threads_before(path)))
        if world.is_first:
            log.info("%s: %s", path, _execution(trainer))
        try:
            opened = RunDir(path, config, trainer.step, device, trainer.engine) if world.is_first else nullcontext()
            with opened as folder:
                train(trainer, folder, signals)
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(device) from error
        except OSError as error:
            reason = error.strerror or error
            raise WganError(f"{path}: can't be written ({reason}); checkpoints in it are as they were") from error
    return path


def _execution(trainer: Trainer) -> str:
    """What decides speed, and the last bits of the figures."""
    training, device, size = trainer.config.training, trainer.device, trainer.world.size
    threads = f", threads {torch.get_num_threads()}" if device.type == "cpu" else ""
    ranks = f", ranks {size}" if size > 1 else ""
    return f"{device}{threads}{ranks}, engine {trainer.engine}, {training.precision}, matmul {training.matmul}"


def _built(config: RunConfig, device: torch.device, world: World) -> Trainer:
    try:
        return Trainer(config, device, world)
    except RuntimeError as error:  # torch has no class for it on the CPU
        if isinstance(error, torch.OutOfMemoryError) or "allocate" in str(error):
            raise _out_of_memory(device) from error
        raise


def _out_of_memory(device: torch.device) -> WganError:
    return WganError(f"{device}: out of memory; lower training.batch_size or the networks' width")


def _state_to_go_on_from(config: RunConfig, path: Path) -> dict[str, Any] | None:
    """What the run in `path` last saved; None where there is no run, or none of its checkpoints yet."""
    if not holds_run(path):
        return None
    differing = config.differences(load_config(str(path / "config.yaml")))
    if differing:
        raise BadInputError(
            f"--out {path}: its run has another config, in {', '.join(differing)}; only training.iterations and "
            "output may change when a run goes on. Name another folder for a new run"
        )
    state = read_newest(path)
    if state is not None and state["step"] > config.training.iterations:
        raise BadInputError(
            f"--out {path}: its run is at iteration {state['step']} already, beyond training.iterations: "
            f"{config.training.iterations}"
        )
    return state


def train(trainer: Trainer, run: RunDir | None, signals: Signals) -> None:
    """Trains to the config's last iteration, writing figures, grids and checkpoints into `run`.

    `run` is None on all ranks but the first. Raises `WganError`: exit code 3 when a figure or weight is no longer
    finite, 75 when a signal asked to stop.
    """
    config, output = trainer.config, trainer.config.output
    last = config.training.iterations
    reporter = Reporter(trainer)
    bar = tqdm(total=last, initial=trainer.step, unit="it", disable=None if run else True, dynamic_ncols=True)
    with bar:
        while trainer.step < last:
            batch_figures = trainer.iterate()
            bar.update()
            step, stop = trainer.step, signals.agreed(trainer.world)
            logs, shows, saves = (
                step == last or step % every == 0
                for every in (output.log_every, output.sample_every, output.checkpoint_every)
            )
            if not (logs or shows or saves or stop):  # is it time?
                continue
            with reporter.watch.paused():
                check_state(trainer)
                figures = reporter.figures(*batch_figures) if logs else {}
                if run is not None:
                    if shows:
                        figures |= reporter.truth()
                        run.picture(reporter.picture(), step)
                    if figures:
                        run.scalars(figures, step)
                        bar.set_postfix(in_short(figures), refresh=False)
                    if saves or stop:
                        run.checkpoint(trainer.state_dict(), step)
            if stop and step < last:
                raise _stopped(stop, step, last, run)


def _stopped(by: signal.Signals, step: int, last: int, run: RunDir | None) -> WganError:
    where = f"; go on with `wgan train --config {run.path / 'config.yaml'} --out {run.path} --resume`" if run else ""
    return WganError(f"{by.name}: stopped at iteration {step} of {last}, and saved there{where}", ExitCode.STOPPED)
