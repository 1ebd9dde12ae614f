"""The training loop: iterations and, after the line "is it time?", figures, grids, checkpoints and stopping."""

import logging
import shlex
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.data.places import check_apart
from wgan_cli.devices import deterministic_kernels, tuned_process
from wgan_cli.errors import BadInputError, ExitCode, WganError, is_out_of_memory
from wgan_cli.runs.checkpoints import checkpoints, read_newest
from wgan_cli.runs.folder import RunFolder, claimed, mark_finished
from wgan_cli.runs.places import holds_run
from wgan_cli.runs.readers import read_threads
from wgan_cli.trackers import check_trackers
from wgan_cli.training.distributed import ALONE, Result, World
from wgan_cli.training.progress import Progress
from wgan_cli.training.reporting import BAR, Reporter, TimeLeft, in_line, in_short
from wgan_cli.training.signals import Signals
from wgan_cli.training.summary import summary
from wgan_cli.training.threads import pick_threads
from wgan_cli.training.trainer import Trainer

log = logging.getLogger("wgan")

Watch = Callable[[int, Mapping[str, float]], None]
"""Is given the iteration and figures of each logged line, once the state is saved where it is time for that. It may
raise a `WganError` to end the run there."""


def train_run(
    config: RunConfig,
    device: torch.device,
    *,
    out: Path | None,
    name: str,
    resume: bool = False,
    world: World = ALONE,
    process_ends: bool = False,
    watch: Watch | None = None,
) -> Path:
    """Trains a new run, or resumes the one in `out`, to its last iteration. Returns its folder.

    If `out` is None, the folder is `runs/name-NNNN`. Bad input is found before a folder is created. With several ranks,
    each rank calls this function, and only the first writes the folder. A run that something watches has no progress
    bar; its logged iterations are lines, as off a terminal. Raises `WganError` for bad input, and for a run that fails,
    diverges or is stopped.
    """
    with ExitStack() as stack:
        signals = stack.enter_context(Signals(process_ends=process_ends))
        stack.enter_context(deterministic_kernels(config.training.deterministic))
        world.on_first_rank(lambda: check_trackers(config))
        world.on_first_rank(lambda: check_apart(out or Path("runs", name), config.data.places, "--out"))
        world.on_first_rank(config.data.fetch)
        trainer = world.on_all_ranks(lambda: _in_memory(device, lambda: Trainer(config, device, world)))
        path = world.on_first_rank(lambda: stack.enter_context(claimed(out, name, resume=resume)))
        state = world.on_first_rank(lambda: _saved_state(config, path))
        progress = Progress(config.training.patience)
        if state is not None:
            world.on_all_ranks(lambda: trainer.load_state_dict(state))
            progress.load_state_dict(state.get("progress", progress.state_dict()))
        if trainer.step == config.training.iterations or progress.is_over:
            if world.is_first:
                mark_finished(path, config)
                log.info("%s: is finished, at iteration %d: nothing is left to do", path, trainer.step)
            return path
        previous = world.on_first_rank(lambda: read_threads(path))
        stack.enter_context(tuned_process(config.training.matmul))
        torch.set_num_threads(_in_memory(device, lambda: pick_threads(trainer, previous)))
        if world.is_first:
            begins = f"goes on from iteration {trainer.step} of {config.training.iterations}, " if trainer.step else ""
            log.info("%s: %s%s", path, begins, _execution(trainer))
        started, begun = trainer.step, time.monotonic()
        try:
            folder = RunFolder(path, config, trainer.step, device, trainer.engine.name) if world.is_first else None
            with folder or nullcontext():
                if folder:
                    folder.line(f"from iteration {trainer.step}: {_execution(trainer)}")
                figures = _in_memory(device, lambda: train(trainer, folder, signals, progress, watch))
        except WganError as error:
            if error.exit_code != ExitCode.DIVERGED:
                raise
            raise WganError(f"{error}. {_kept(path)}", error.exit_code) from error
        except OSError as error:
            reason = error.strerror or error
            raise WganError(f"{path}: can't be written ({reason}); checkpoints in it are as they were") from error
        if world.is_first:
            _summarise(path, figures, trainer, trainer.step - started, time.monotonic() - begun)
    return path


def _summarise(path: Path, figures: Mapping[str, float], trainer: Trainer, steps: int, seconds: float) -> None:
    heldout = trainer.dataset.heldout()
    for line in summary(path, figures, steps, seconds, None if heldout is None else len(heldout)):
        log.info("%s", line)


def _kept(path: Path) -> str:
    found = checkpoints(path)
    return f"The checkpoint of iteration {int(found[0].stem)} is kept" if found else "No checkpoint was saved before"


def _execution(trainer: Trainer) -> str:
    """The settings that determine the speed and the last bits of the figures, as one line."""
    training, device, size = trainer.config.training, trainer.device, trainer.world.size
    threads = f", threads {torch.get_num_threads()}" if device.type == "cpu" else ""
    ranks = f", ranks {size}" if size > 1 else ""
    return f"{device}{threads}{ranks}, engine {trainer.engine.name}, {training.precision}, matmul {training.matmul}"


def _in_memory(device: torch.device, action: Callable[[], Result]) -> Result:
    """What `action` returns. Raises `WganError` if memory does not suffice for it."""
    try:
        return action()
    except RuntimeError as error:
        if is_out_of_memory(error):
            hint = "lower training.batch_size or the networks' width"
            raise WganError(f"{device}: out of memory; {hint}") from error
        raise


def _saved_state(config: RunConfig, path: Path) -> dict[str, Any] | None:
    """The newest saved state of the run in `path`; None if there is no run, or no checkpoint yet."""
    if not holds_run(path):
        return None
    differing = config.differences(load_config(str(path / "config.yaml")))
    if differing:
        raise BadInputError(
            f"--out {path}: its run has another config, in {', '.join(differing)}; only training.iterations and "
            f"output may change when a run goes on. --config {path / 'config.yaml'} goes on with it as it is; "
            "name another folder for a new run"
        )
    state = read_newest(path)
    if state is None:
        return None
    if state["step"] > config.training.iterations:
        raise BadInputError(
            f"--out {path}: its run is at iteration {state['step']} already, beyond training.iterations: "
            f"{config.training.iterations}"
        )
    _tell_of_other_end(config, state, path)
    return state


def _tell_of_other_end(config: RunConfig, state: dict[str, Any], path: Path) -> None:
    """Tells of rates that do not go on as they were: they decay over the iterations of the config."""
    before, now = state["config"]["training"]["iterations"], config.training.iterations
    if before != now and (config.optimizer.generator.decays or config.optimizer.critic.decays):
        log.info("%s: was to have %d iterations, and has %d now; rates that decay do so over these", path, before, now)


def train(
    trainer: Trainer, run: RunFolder | None, signals: Signals, progress: Progress, watch: Watch | None = None
) -> dict[str, float]:
    """Trains to the config's last iteration, or until `progress` is over, writing figures, grids and checkpoints.

    Returns the newest of each figure. `run` is None on all ranks except the first, which alone calls `watch`. Raises
    `WganError`, with exit code 3 if a figure or weight is not finite, and 75 if a signal asked the run to stop.
    """
    config, output = trainer.config, trainer.config.output
    last = config.training.iterations
    reporter, newest = Reporter(trainer), dict[str, float]()
    time_left = TimeLeft(trainer.step, last)
    is_quiet = None if run and watch is None else True  # None: where stderr is no terminal
    bar = tqdm(total=last, initial=trainer.step, bar_format=BAR, disable=is_quiet, dynamic_ncols=True)
    with bar:
        if run is not None and trainer.step == 0:
            with reporter.watch.paused():
                run.picture(reporter.drawing(), 0)  # of the untrained generator, for pictures through time
        while trainer.step < last:
            outcome = trainer.iterate()
            bar.update()
            step, stop = trainer.step, signals.on_any_rank(trainer.world)
            logs, shows, saves = (
                step == last or step % every == 0
                for every in (output.log_every, output.sample_every, output.checkpoint_every)
            )
            if not (logs or shows or saves or stop):  # is it time?
                continue
            with reporter.watch.paused():
                trainer.check_finite()
                figures, is_over = reporter.figures(outcome) if logs else {}, False
                if shows:  # the others wait for the first rank, which may have a classifier to train
                    judged, is_over = trainer.world.on_first_rank(partial(_grid, reporter, run, step, progress))
                    figures |= judged
                if run is not None:
                    if figures:
                        run.scalars(figures, step)
                        newest |= figures
                        bar.set_postfix(in_short(newest), refresh=False)
                        _tell(in_line(figures, step, last, time_left.at(step)), run, on_stderr=bar.disable)
                    best = shows and progress.best_step == step
                    if saves or stop or is_over or best:  # the best too: then no best one is of iterations to be redone
                        state = trainer.state_dict() | {"progress": progress.state_dict()}
                        run.checkpoint(state, step, best=best)
                    if figures and watch is not None:
                        watch(step, figures)
            if is_over:
                break
            if stop and step < last:
                raise _stopped(stop, trainer, run)
    _report_best(progress, trainer.step, last, run)
    return newest


def _tell(line: str, run: RunFolder, *, on_stderr: bool) -> None:
    run.line(line)
    if on_stderr:
        log.info("%s %s", time.strftime("%H:%M:%S"), line)


def _grid(reporter: Reporter, run: RunFolder | None, step: int, progress: Progress) -> tuple[dict[str, float], bool]:
    """Draws the grid of an iteration, on the first rank, and adds what samples are judged by to `progress`.

    Returns the grid's figures, and whether progress is over.
    """
    assert run is not None
    figures = reporter.truth()
    run.picture(reporter.drawing(), step)
    score = Reporter.score(figures)
    if score is not None:
        progress.add(step, score)
    return figures, progress.is_over


def _report_best(progress: Progress, step: int, last: int, run: RunFolder | None) -> None:
    if run is None:
        return
    if step < last:
        log.info("ended at iteration %d of %d: training.patience ran out without better samples", step, last)
    if progress.best_step not in (None, step):
        log.info("the best samples were those of iteration %d: --best draws them", progress.best_step)


def _stopped(by: signal.Signals, trainer: Trainer, run: RunFolder | None) -> WganError:
    told = f"{by.name}: stopped at iteration {trainer.step} of {trainer.config.training.iterations}, and saved there"
    if run is not None:
        line = ["wgan", "train", "--config", str(run.path / "config.yaml"), "--out", str(run.path), "--resume"]
        line += ["--device", trainer.device.type]  # its random numbers go on nowhere else
        told += f"; go on with `{shlex.join(line)}`"
    return WganError(told, ExitCode.STOPPED)
