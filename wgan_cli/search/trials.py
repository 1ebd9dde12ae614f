"""One trial: a run that is trained in its own folder, and measured by the objective."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from optuna.trial import TrialState

from wgan_cli.config.documents import dotted
from wgan_cli.errors import BadInputError, ExitCode, WganError, is_out_of_memory
from wgan_cli.evaluation.figures import evaluate
from wgan_cli.figure_names import is_figure
from wgan_cli.runs.loaded import load_run
from wgan_cli.runs.places import holds_run
from wgan_cli.runs.readers import read_metrics
from wgan_cli.search.space import SearchSpec
from wgan_cli.search.study import MEASURED, Claim, Search
from wgan_cli.training.loop import train_run
from wgan_cli.training.progress import SMOOTHED

log = logging.getLogger("wgan.search")
EVALUATED = 2000
"""The number of samples of an evaluation, if the objective is one of its figures."""
ALIKE = 0.86
"""Of names, the ratio of equal letters above which one may be a mistake for the other."""
_advised: set[str] = set()
"""The objectives that this process has told may be mistakes."""


class _PrunedError(WganError):
    """Ends a run whose trial is worse than the others."""


def try_one(search: Search, claim: Claim, device: torch.device, must_stop: Callable[[], bool]) -> None:
    """Trains a trial, from its checkpoint if it has one, and writes how it ended.

    A trial that diverges counts as pruned; one whose config is refused, or needs too much memory, as failed. Raises
    `WganError` with exit code 75 if it is to stop: then the trial can go on later. So it can after any other error.
    """
    objective = search.space.spec.objective
    try:
        _train(search, claim, device, must_stop)
    except _PrunedError:
        _end(search, claim, None, TrialState.PRUNED, "pruned")
    except WganError as error:
        if error.exit_code == ExitCode.DIVERGED:
            _end(search, claim, None, TrialState.PRUNED, "diverged")
        elif _is_its_own(error, claim.run):
            _end(search, claim, None, TrialState.FAIL, f"failed: {error}")
        else:
            raise
    else:
        value, how = _objective(claim.run, objective, device)
        words = f"{objective} {value:.6g}, {how}"
        claim.trial.set_user_attr(MEASURED, words)
        _end(search, claim, value, TrialState.COMPLETE, words)


def _train(search: Search, claim: Claim, device: torch.device, must_stop: Callable[[], bool]) -> None:
    config = search.space.config(claim.values)  # refused if values that are good alone don't go together
    tried = ", ".join(f"{dotted(key)}={_short(value)}" for key, value in claim.values.items())
    log.info("%s: tries %s; its lines are in %s", claim.run.name, tried, claim.run / "log.txt")
    watch = _watch(claim, search.space.spec, config.training.iterations, must_stop)
    with _quiet():
        train_run(config, device, out=claim.run, name=claim.run.name, resume=True, watch=watch)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_its_own(error: WganError, run: Path) -> bool:
    """Whether the error is of this trial's values alone, so that another one may do better."""
    if isinstance(error, BadInputError):
        return not holds_run(run)  # a run that has begun has a good config: it lacks its device, or its data
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)


def _end(search: Search, claim: Claim, value: float | None, state: TrialState, words: str) -> None:
    search.tell(claim.trial, value, state)
    log.info("%s: %s (%d of %d)", claim.run.name, words, len(search.ended), search.trials)


def _watch(
    claim: Claim, spec: SearchSpec, last: int, must_stop: Callable[[], bool]
) -> Callable[[int, Mapping[str, float]], None]:
    """Reports each logged objective once, and ends the run if it is to be pruned or stopped.

    A process before may have been killed between a checkpoint and its report, so what the run has logged comes first.
    """
    trial = claim.trial
    reported = set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def report(step: int, figures: Mapping[str, float]) -> None:
        if spec.objective in figures and step not in reported:
            trial.report(figures[spec.objective], step)
            reported.add(step)

    def watch(step: int, figures: Mapping[str, float]) -> None:
        report(step, figures)
        near = get_close_matches(spec.objective, filter(is_figure, figures), n=1, cutoff=ALIKE)
        if near and near[0] != spec.objective and spec.objective not in _advised:  # now, not when the trial has ended
            _advised.add(spec.objective)
            log.warning(
                "objective: runs log %s, not %s, which is looked for by an evaluation at each trial's end",
                *(near[0], spec.objective),
            )
        if must_stop():
            raise WganError("stopped", ExitCode.STOPPED)
        if spec.prune and spec.objective in figures and step < last and trial.should_prune():
            raise _PrunedError(f"pruned at iteration {step}")

    for line in read_metrics(claim.run) if (claim.run / "metrics.jsonl").exists() else ():
        report(int(line["step"]), line)
    return watch


def _objective(run: Path, name: str, device: torch.device) -> tuple[float, str]:
    """The mean of the figure's last three logged values or, if it is none that is logged, that of an evaluation; and
    in words which of them it is."""
    lines = read_metrics(run)
    logged = [line[name] for line in lines if name in line][-SMOOTHED:]
    if logged:
        how = f"the mean of its last {len(logged)} values" if len(logged) > 1 else "its only value"
        return sum(logged) / len(logged), how
    figures = evaluate(load_run(str(run), device), EVALUATED, 0)
    if name in figures:
        return figures[name], f"evaluated with {EVALUATED:,} samples"
    names = {each for line in lines for each in line} | figures.keys()
    known = sorted(each for each in names if "/" in each and is_figure(each))
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    told = f"objective: {name} is no figure of these runs; {hint}They have {', '.join(known)}"
    raise WganError(f"{told}. {run} is kept; search with another objective in another folder")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the runs' own lines: each has them in its log.txt."""
    logger = logging.getLogger("wgan")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
