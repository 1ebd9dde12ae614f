"""Measures training on a file of four times the memory allowed, against the same samples resident in memory.

    python scripts/bench_streamed.py --memory 1024         # in MiB; writes a file of four times that

The streamed process runs in a control group of its own whose memory, the page cache included, is limited: this needs
root, or a cgroup that the user may divide. For each case the two kinds of process take turns: A B A B ... The ratio is
that of a pair's iterations per second: median, least and greatest.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from bench import case_of, rate, tune_for

from wgan_cli.config.load import load_config
from wgan_cli.training.trainer import Trainer

CASES = ("mnist_gp mlp", "mnist_gp conv")
"""Those of `bench.py`: their networks train on the file in place of digits."""
SHAPE = (1, 28, 28)
WARM_UP = 10.0
"""Seconds before the measured ones: the page cache is full by then."""


def write_samples(path: Path, size: int) -> None:
    """Normal numbers of `size` bytes in all, as float32."""
    count, chance = size // (4 * int(np.prod(SHAPE))), np.random.default_rng(0)
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, *SHAPE))
    for start in range(0, count, 50_000):
        file[start : start + 50_000] = chance.standard_normal((min(50_000, count - start), *SHAPE), np.float32)
    file.flush()


def forget(path: Path) -> None:
    """Takes the file out of the page cache, where its pages would not count as the streamed process's own."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def limited_group(limit: int) -> Iterator[Path]:
    """A control group whose processes may use `limit` bytes, of version 2 or 1; a process joins by `cgroup.procs`."""
    of_process = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        group, key = root / of_process[""].strip("/"), "memory.max"
    else:
        group, key = root / "memory" / of_process["memory"].strip("/"), "memory.limit_in_bytes"
    group /= f"bench-{os.getpid()}"
    try:
        group.mkdir()
        (group / key).write_text(str(limit))
    except OSError as error:
        raise SystemExit(
            f"{group}: can't limit memory ({error.strerror}); run as root, or where cgroups are yours"
        ) from error
    try:
        yield group
    finally:
        group.rmdir()


def measured(case: str, path: str, resident: bool, seconds: float) -> dict[str, float]:
    """Iterations a second, and the memory of this process."""
    data = f"data={{kind: arrays, path: {path}, resident: {str(resident).lower()}, scale: none, heldout: 2.0e-4}}"
    name, changes = case_of(case)
    config = load_config(name, [*changes, data])
    trainer = Trainer(config, torch.device("cpu"))
    tune_for(trainer)
    rate(trainer.iterate, trainer.device, WARM_UP)
    return {
        "rate": rate(trainer.iterate, trainer.device, seconds),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def in_a_fresh_process(case: str, path: Path, seconds: float, group: Path | None) -> dict[str, float]:
    """The figures of `measured`, streamed within `group`, or resident where there is none."""
    forget(path)
    line = [sys.executable, __file__, "--worker", case, "--file", str(path), "--seconds", str(seconds)]
    line += [] if group is None else ["--group", str(group)]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)}: exit {done.returncode}\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", type=int, default=1024, help="MiB allowed to the streamed process")
    parser.add_argument("--folder", type=Path, help="where the file is written [default: the folder for such files]")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30)
    for hidden in ("--worker", "--file", "--group"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        if arguments.group:
            (Path(arguments.group) / "cgroup.procs").write_text(str(os.getpid()))
        print(json.dumps(measured(arguments.worker, arguments.file, not arguments.group, arguments.seconds)))
        return
    limit = arguments.memory * 2**20
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder, limited_group(limit) as group:
        path = Path(folder) / "samples.npy"
        write_samples(path, 4 * limit)
        for case in CASES:
            pairs = [
                [in_a_fresh_process(case, path, arguments.seconds, where) for where in (None, group)]
                for _ in range(arguments.pairs)
            ]
            ratios = [streamed["rate"] / resident["rate"] for resident, streamed in pairs]
            rates, memory = (
                [statistics.median(p[i][key] for p in pairs) for i in (0, 1)] for key in ("rate", "memory")
            )
            print(
                f"{case}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) of the resident "
                f"speed; iterations/s {rates[0]:.1f} resident, {rates[1]:.1f} streamed; memory {memory[0]:,.0f} MB "
                f"and {memory[1]:,.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
