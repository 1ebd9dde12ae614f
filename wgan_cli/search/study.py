"""A search on the disk: a folder of runs, and Optuna's journal of its trials, which any number of processes share.

The journal is a text file that grows, with a lock file of Optuna's own, so that it works on network file systems. Who
trains a trial holds its lock, so a trial whose lock is free lost its process, and the next one that asks takes it over.
"""

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import optuna
from filelock import Timeout
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

from wgan_cli.config.documents import dotted
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.files import creations, locked
from wgan_cli.search.space import Choices, KeyPath, Range, Space
from wgan_cli.streams import stream_seed

log = logging.getLogger("wgan.search")
JOURNAL, NAME = "journal.log", "search"
MEASURED = "measured"
"""The attribute of a trial that tells in words what its objective is, and how it was found."""
DONE = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


@dataclass(frozen=True)
class Claim:
    """A trial that this process alone trains, as long as it holds the trial's lock."""

    trial: Trial
    values: Mapping[KeyPath, Any]
    run: Path


class Search:
    """The trials of a space in a folder, at most `trials` of them."""

    def __init__(self, folder: Path, space: Space, trials: int) -> None:
        """Opens the search that `begin` has begun."""
        self.folder, self.space, self.trials = folder, space, trials
        self._study = optuna.load_study(study_name=NAME, storage=_storage(folder), pruner=_pruner())

    @staticmethod
    def begin(folder: Path, space: Space, *, resume: bool) -> None:
        """Begins a search in a new or empty folder or, with `resume`, goes on with the one there if it is of the same
        space. Raises `BadInputError` for a folder that is not free, before anything is written."""
        described = json.loads(json.dumps(space.to_dict()))
        has_journal = (folder / JOURNAL).is_file()
        if has_journal and not resume:
            raise BadInputError(f"--out {folder}: holds a search; --resume goes on with it, else name another folder")
        if not has_journal and folder.exists() and not _is_free(folder):
            raise BadInputError(f"--out {folder}: is not empty, and holds no search; name another folder")
        try:
            with creations() as made:
                made.folder(folder)
                with locked(folder / ".lock", made):
                    _begin_study(folder, described, str(space.spec.direction))
        except OSError as error:
            raise BadInputError(f"--out {folder}: can't be written ({error.strerror or error})") from error

    def claim(self, held: ExitStack) -> Claim | None:
        """A trial to train: one that lost its process, else a new one; None if there is none left.

        `held` keeps its lock. Two processes never get the same trial.
        """
        with creations() as made, locked(self.folder / ".lock", made):
            made.keep()
            every = self._study.get_trials(deepcopy=False)
            for frozen in every:
                if frozen.state == TrialState.RUNNING and self._lock(frozen.number, held):
                    log.info("%s lost its process; going on with it", self.run(frozen.number).name)
                    return self._claimed(Trial(self._study, frozen._trial_id))
            if len(every) >= self.trials:
                return None
            # A seed of the trial's own: all processes would draw the same otherwise, and so would one that goes on.
            seed = stream_seed(self.space.spec.seed, f"trial {len(every)}")
            self._study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
            trial = self._study.ask()
            if not self._lock(trial.number, held):
                raise WganError(f"{self.run(trial.number)}: another process holds the lock of this new trial")
            return self._claimed(trial)

    def run(self, number: int) -> Path:
        """The folder of the run of trial `number`."""
        return self.folder / f"trial-{number:04d}"

    def _lock(self, number: int, held: ExitStack) -> bool:
        with creations() as made:
            try:
                held.enter_context(locked(self.folder / f".trial-{number:04d}.lock", made, timeout=0))
            except Timeout:
                return False
            made.keep()
            return True

    def _claimed(self, trial: Trial) -> Claim:
        values = {key: _suggested(trial, dotted(key), within) for key, within in self.space.varied.items()}
        return Claim(trial, values, self.run(trial.number))

    def tell(self, trial: Trial, value: float | None, state: TrialState) -> None:
        """Writes how a trial ended. Only a complete one has a value."""
        self._study.tell(trial, value, state=state)

    @property
    def ended(self) -> Sequence[FrozenTrial]:
        """The trials that are complete, pruned or failed."""
        return self._study.get_trials(deepcopy=False, states=DONE)

    @property
    def unfinished(self) -> int:
        """The number of trials that are still to be trained, or are in training."""
        return max(self.trials, len(self._study.get_trials(deepcopy=False))) - len(self.ended)

    def best(self) -> tuple[Path, str, dict[KeyPath, Any]] | None:
        """Run, objective in words and values of the best complete trial; None if none is complete."""
        if not any(trial.state == TrialState.COMPLETE for trial in self.ended):
            return None
        found = self._study.best_trial
        measured = found.user_attrs.get(MEASURED, f"{self.space.spec.objective} {found.value:.6g}")
        values = {key: _decoded(found.params[dotted(key)], within) for key, within in self.space.varied.items()}
        return self.run(found.number), measured, values

    def importances(self) -> dict[str, float]:
        """How much each key matters to the objective, as shares that sum to 1 (PED-ANOVA, Watanabe et al., 2023).

        Empty for less than four complete trials, and where all have the same objective.
        """
        values = [trial.value for trial in self.ended if trial.state == TrialState.COMPLETE]
        if len(values) < 4 or len(set(values)) == 1:
            return {}
        return optuna.importance.get_param_importances(self._study)


def _is_free(folder: Path) -> bool:
    return folder.is_dir() and all(entry.name == ".lock" for entry in folder.iterdir())


def _begin_study(folder: Path, described: Mapping[str, Any], direction: str) -> None:
    wanted = optuna.study.StudyDirection.MINIMIZE if direction == "minimise" else optuna.study.StudyDirection.MAXIMIZE
    study = optuna.create_study(study_name=NAME, storage=_storage(folder), direction=wanted, load_if_exists=True)
    before = study.user_attrs.get("space")
    if before is None:
        study.set_user_attr("space", dict(described))
    elif before != described:
        differing = sorted(key for key in before.keys() | described.keys() if before.get(key) != described.get(key))
        raise BadInputError(
            f"--out {folder}: its search has another space, in {', '.join(differing)}; name another folder"
        )


def _suggested(trial: Trial, name: str, within: Range | Choices) -> Any:
    if isinstance(within, Choices):
        texts = [json.dumps(value) for value in within.values]  # a mapping is no value of Optuna's
        return _decoded(trial.suggest_categorical(name, texts), within)
    if within.is_whole:
        return trial.suggest_int(name, int(within.low), int(within.high), log=within.log)
    return trial.suggest_float(name, within.low, within.high, log=within.log)


def _decoded(value: Any, within: Range | Choices) -> Any:
    return json.loads(value) if isinstance(within, Choices) else value


def _pruner() -> optuna.pruners.BasePruner:
    return optuna.pruners.MedianPruner(n_startup_trials=5)


def _storage(folder: Path) -> JournalStorage:
    path = folder / JOURNAL
    return JournalStorage(JournalFileBackend(str(path), lock_obj=cast(Any, _MendingLock(path))))


class _MendingLock:
    """The journal's lock. Who gets it cuts off a line that a full disk or a power cut left incomplete: Optuna would
    append to it, and could not read the journal from then on."""

    def __init__(self, journal: Path) -> None:
        # `journal.lock` is a file. Optuna's other lock is a link to the journal: if a process is killed that holds it,
        # all wait without end where it leads nowhere, as in a relative folder, in a moved one, on another machine.
        self._journal, self._lock = journal, JournalFileOpenLock(str(journal.with_suffix("")))

    def acquire(self) -> bool:
        acquired = self._lock.acquire()
        mend(self._journal)
        return acquired

    def release(self) -> None:
        self._lock.release()


def mend(journal: Path) -> None:
    """Cuts off what follows the last line's end."""
    with journal.open("r+b") as file:
        size = file.seek(0, 2)
        end = size
        while end:
            start = max(0, end - 4096)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            end = start + found + 1 if found >= 0 else start
            if found >= 0:
                break
        if end != size:
            file.truncate(end)
