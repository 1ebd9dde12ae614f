"""Disturbs training runs, resumes them, and compares each with a run that nothing happened to, byte for byte.

    python scripts/fault_test.py                 # a hundred kills and the other faults: some 5 minutes
    python scripts/fault_test.py --tries 1       # one of each fault, as in the tests

The disturbed processes are forked from one that has imported everything, because imports take seconds and touch no
files. The script compares the bytes of the newest checkpoint, metrics.jsonl without speeds, the bytes of every grid,
and the scalars that TensorBoard shows. A run counts as lost if they differ, if it can't be resumed, or if an error
message is not the promised one. Full disks and read-only folders need Linux's `unshare`; without it they are skipped,
and the table says so.
"""

import argparse
import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tqdm import tqdm

from wgan_cli import cli
from wgan_cli.runs.checkpoints import checkpoints, read_newest

logging.getLogger("tensorboard").setLevel(logging.ERROR)
SMALL = ("generator.hidden=[16]", "critic.hidden=[16]", "training.batch_size=32", "training.n_critic=2")
INTERVALS = ("output.log_every=1", "output.sample_every=50", "output.checkpoint_every=3")
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "__main__",
        "wgan_cli.training.loop",
        "torch._dynamo",  # the first optimizer imports it
        "torch.utils.tensorboard",
        "matplotlib.figure",
        "matplotlib.backends.backend_agg",
    ]
)


class Process:
    """`wgan` with these arguments in a process of its own, whose clock is off by `clock` seconds."""

    def __init__(self, arguments: list[str], errors: Path, clock: float) -> None:
        self._errors = errors
        self._process = FORKS.Process(target=_execute, args=(arguments, errors, clock))
        self._process.start()

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(self._process.pid, number)

    def wait(self) -> tuple[int, str]:
        """The exit code, negative for a signal that killed it, and what it wrote to stderr."""
        self._process.join()
        return self._process.exitcode, self._errors.read_text()


def _execute(arguments: list[str], errors: Path, clock: float) -> None:
    """Executes the command in this process."""
    now = time.time
    time.time = lambda: now() + clock
    for path, descriptor in ((os.devnull, 1), (errors, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    tqdm.set_lock(threading.RLock())  # the usual one is a semaphore, which a killed process leaks
    sys.argv = ["wgan", *arguments]
    cli.main()


class Faults:
    """The folder of the runs, the undisturbed run to compare with, and the result of each fault."""

    def __init__(self, folder: Path, tries: int, chance: random.Random) -> None:
        self.folder, self.tries, self.chance = folder, tries, chance
        self.table: list[tuple[str, int, int]] = []
        self._whole: dict[int, Path] = {}

    @property
    def iterations(self) -> int:
        """The number of iterations of a run that is disturbed `tries` times: enough to outlast them all."""
        return 100 * self.tries + 100

    def start(self, run: Path, iterations: int, *more: str, clock: float = 0) -> Process:
        return Process(_line(run, iterations, *more), self.folder / "errors", clock)

    def begun(self, run: Path, iterations: int, within: float, clock: float = 0) -> Process:
        """A process that opened the run's folder a random time ago, at most `within` seconds."""
        since = time.time()
        process = self.start(run, iterations, clock=clock)
        while process.is_alive and not has_begun(run, since):
            time.sleep(0.002)
        time.sleep(self.chance.random() * within)
        return process

    def finish(self, run: Path, iterations: int, *more: str) -> str | None:
        """Resumes the run to its end. Returns what failed, if anything did."""
        code, errors = self.start(run, iterations, *more).wait()
        return None if code == 0 else f"exit {code}: {errors}"

    def whole(self, iterations: int) -> Path:
        """An undisturbed run of so many iterations, in a new process."""
        if iterations not in self._whole:
            run = self._whole[iterations] = self.folder / f"whole-{iterations}"
            line = [sys.executable, "-m", "wgan_cli", *_line(run, iterations)]
            done = subprocess.run(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            if done.returncode:
                raise SystemExit(f"the undisturbed run fails: {done.stderr}")
        return self._whole[iterations]

    def count(self, fault: str, tried: int, lost: list[str]) -> None:
        self.table.append((fault, tried, len(lost)))
        print(f"{fault}: {tried} tried, {len(lost)} lost", *lost, sep="\n  ", file=sys.stderr, flush=True)


def _line(run: Path, iterations: int, *more: str) -> list[str]:
    """The arguments of `wgan` that start or resume a run."""
    values = (*SMALL, *INTERVALS, f"training.iterations={iterations}", *more)
    settings = [f"--set={value}" for value in values]
    return ["train", "--config=normal_gp", "--device=cpu", *settings, f"--out={run}", "--resume"]


def differences(one: Path, other: Path) -> list[str]:
    """The differences between two runs that should be equal."""
    pairs: list[tuple[str, Callable[[Path], object]]] = [
        ("newest checkpoint", lambda run: checkpoints(run)[0].read_bytes()),
        ("metrics.jsonl", _metrics),
        ("grids", lambda run: {path.name: path.read_bytes() for path in (run / "samples").iterdir()}),
        ("TensorBoard", _scalars),
    ]
    return [what for what, read in pairs if read(one) != read(other)]


def _metrics(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.startswith("speed/")} for line in lines]


def _scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    names = [name for name in events.Tags()["scalars"] if not name.startswith("speed/")]
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in names}


def has_begun(run: Path, since: float) -> bool:
    """Whether a process that was started at `since` has opened the run's folder."""
    try:
        return (run / "status.json").stat().st_mtime > since
    except FileNotFoundError:
        return False


def kills(faults: Faults) -> None:
    """Kills one run at random instants, while it starts, trains, logs, draws and saves."""
    iterations, run, tried = faults.iterations, faults.folder / "killed", 0
    while tried < faults.tries:
        if faults.chance.random() < 0.9:
            process = faults.begun(run, iterations, within=0.3)
        else:
            process = faults.start(run, iterations)
            time.sleep(faults.chance.random() * 0.3)
        if not process.is_alive:
            break  # it is done: no more to kill
        process.send(signal.SIGKILL)
        process.wait()
        tried += 1
    fault = faults.finish(run, iterations)
    lost = [fault] if fault else differences(faults.whole(iterations), run)
    faults.count("kill -9 at a random instant", tried, lost)


def storms(faults: Faults) -> None:
    """Sends many signals at once, repeatedly: the state is saved, and the exit code is 75."""
    iterations, run, tried, lost = faults.iterations, faults.folder / "stormy", 0, []
    for _ in range(faults.tries):
        process = faults.begun(run, iterations, within=0.4)
        for _ in range(20):
            process.send(faults.chance.choice((signal.SIGTERM, signal.SIGUSR1)))
            time.sleep(faults.chance.random() * 0.01)
        code, errors = process.wait()
        tried += 1
        if code not in (75, 0):
            lost.append(f"exit {code}: {errors}")
    fault = faults.finish(run, iterations)
    lost += [fault] if fault else differences(faults.whole(iterations), run)
    faults.count("a storm of 20 signals", tried, lost)


def clocks(faults: Faults) -> None:
    """Sets the clock of each start backwards or forwards by up to a day."""
    iterations, run, tried = faults.iterations, faults.folder / "clocks", 0
    for _ in range(faults.tries):
        process = faults.begun(run, iterations, within=0.4, clock=faults.chance.uniform(-86_400, 86_400))
        process.send(faults.chance.choice((signal.SIGKILL, signal.SIGTERM)))
        process.wait()
        tried += 1
    fault = faults.finish(run, iterations)
    lost = [fault] if fault else differences(faults.whole(iterations), run)
    faults.count("a clock set backwards or forwards", tried, lost)


def damages(faults: Faults) -> None:
    """Damages the newest checkpoint: the run resumes from the one before it."""

    def truncated(content: bytes) -> bytes:
        return content[: faults.chance.randrange(len(content))]

    def flipped(content: bytes) -> bytes:
        damaged = bytearray(content)
        damaged[faults.chance.randrange(len(content))] ^= 1 << faults.chance.randrange(8)
        return bytes(damaged)

    iterations = faults.iterations
    for what, damage in (("truncated", truncated), ("bit-flipped", flipped), ("zero-length", lambda _: b"")):
        lost = []
        for _ in range(faults.tries):
            run = faults.folder / "damaged"
            shutil.copytree(faults.whole(iterations), run)
            newest = checkpoints(run)[0]
            newest.write_bytes(damage(newest.read_bytes()))
            fault = faults.finish(run, iterations)
            found = [fault] if fault else differences(faults.whole(iterations), run)
            lost += [", ".join(found)] if found else []
            shutil.rmtree(run)
        faults.count(f"a {what} checkpoint", faults.tries, lost)


def full_disks(faults: Faults) -> None:
    """Fills a small disk: one clear error, exit 1, the last checkpoint whole; with room again the run resumes."""
    iterations, lost, disk = 100, [], faults.folder / "disk"
    disk.mkdir()
    for _ in range(faults.tries):
        kilobytes = faults.chance.randrange(300, 1200)
        _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(disk))
        code, errors = faults.start(disk / "run", iterations, "output.keep=1000").wait()
        told = ("engine eager", f" of {iterations},")  # how it is executed, and its iterations
        lines = [line for line in errors.splitlines() if not any(part in line for part in told)]
        if code != 1 or len(lines) != 1 or "can't be written (No space left" not in lines[0]:
            lost.append(f"exit {code}: {errors}")
        elif checkpoints(disk / "run") and read_newest(disk / "run") is None:
            lost.append("no checkpoint is whole")
        else:
            _mount("-o", "remount,size=100m", str(disk))
            fault = faults.finish(disk / "run", iterations, "output.keep=1000")
            # The checkpoints hold their config: compare with a run that keeps as many.
            whole = faults.folder / "whole-kept"
            if not whole.exists():
                faults.finish(whole, iterations, "output.keep=1000")
            found = [fault] if fault else differences(whole, disk / "run")
            lost += [", ".join(found)] if found else []
        subprocess.run(["umount", str(disk)], check=True)
    faults.count("a full disk", faults.tries, lost)


def read_only_folders(faults: Faults) -> None:
    """Makes the folder read-only: exit 2 at once, and the run in it is unchanged."""
    iterations, lost, disk = faults.iterations, [], faults.folder / "read-only"
    disk.mkdir()
    _mount("-t", "tmpfs", "none", str(disk))
    shutil.copytree(faults.whole(iterations), disk / "run")
    checkpoints(disk / "run")[0].unlink()  # some iterations are left to do
    _mount("-o", "remount,ro", str(disk))
    for run in (disk / "run", disk / "new"):
        code, errors = faults.start(run, iterations).wait()
        if code != 2 or "can't be written" not in errors:
            lost.append(f"exit {code}: {errors}")
    _mount("-o", "remount,rw", str(disk))
    fault = faults.finish(disk / "run", iterations)
    lost += [fault] if fault else differences(faults.whole(iterations), disk / "run")
    subprocess.run(["umount", str(disk)], check=True)
    faults.count("a read-only folder", 2, lost)


def lost_folders(faults: Faults) -> None:
    """Deletes the folder of a run in training: one clear error, and exit 1."""
    lost = []
    for _ in range(faults.tries):
        run = faults.folder / "gone"
        process = faults.begun(run, 100_000, within=0.4)
        shutil.rmtree(run, ignore_errors=True)
        code, errors = process.wait()
        if code != 1 or "can't be written" not in errors or "Traceback" in errors:
            lost.append(f"exit {code}: {errors}")
        shutil.rmtree(run, ignore_errors=True)
    faults.count("a folder deleted under the run", faults.tries, lost)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=100, help="kills; a tenth of them, or as many if few, of the rest")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--in-namespace", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    can_mount = arguments.in_namespace
    if not can_mount and shutil.which("unshare"):
        inside = ["unshare", "--map-root-user", "--mount"]
        if subprocess.run([*inside, "true"], capture_output=True).returncode == 0:
            os.execvp(inside[0], [*inside, sys.executable, *sys.argv, "--in-namespace"])
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        faults = Faults(Path(folder), arguments.tries, random.Random(arguments.seed))
        kills(faults)
        faults.tries = max(arguments.tries // 10, min(arguments.tries, 2))
        for fault in (storms, clocks, damages, lost_folders):
            fault(faults)
        if can_mount:
            for fault in (full_disks, read_only_folders):
                fault(faults)
        else:
            print("full disks and read-only folders: skipped, as this system lets nobody mount", file=sys.stderr)
    print(f"{'fault':36} {'tried':>5} {'runs lost':>9}")
    for fault, tried, lost in faults.table:
        print(f"{fault:36} {tried:5} {lost:9}")
    sys.exit(any(lost for _, _, lost in faults.table))


if __name__ == "__main__":
    main()
