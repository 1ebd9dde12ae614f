"""Gives the command line what nobody should give it, and counts what it must never do.

    python scripts/fuzz.py --cases 5000 --seed 0

Each case is one command in this process: a damaged config, --set, file, path, checkpoint or run, odd numbers, or an
output that is full or closed. It may succeed or be refused. It must not raise (a traceback), take over 10 seconds (a
hang), or change a file that it was not asked to write. The same seed gives the same cases; --only N repeats one.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from wgan_cli import cli
from wgan_cli.config import shipped

SECONDS = 10
CODES = {0, 1, 2, 3, 130, 141}
VALUES = [
    *("", "~", "null", "true", "no", "-1", "0", "1e400", ".nan", "-.inf"),
    "9" * 400,
    *("1e-320", "[]", "[[1], 2]", "{}", "{kind: mlp}", "{kind: }", "{a: {b: [c]}}", "&a 1", "*a"),
    *("!!python/object:x 1", '"\\0"', "'\\ud800'", "ü😀", "x: y", "[0.5, 0.9]", "[1, 2, 3]", "linear", "gp"),
    *("2", "0.5", "4294967296", "[4096]", "{kind: normal}", "@", "%", "\t", "- 1"),
]
PATHS = [  # /etc, not /: a walk through a whole disk is long work, and no hang
    *("", "-", ".", "..", "/etc", "~", "~nobody/x"),
    "x" * 300,
    *("a\nb.png", "no/x.png", "x.png", "x.npz", "folder", "table.csv", "/dev/null", "/dev/full"),
    *("/proc/self/mem", "link", "loop", "ü😀.png", " ", "x.gif", "*.png", "run", "--", "x.PNG"),
]
NUMBERS = [
    *("0", "1", "2", "64", "-1", "1.5", "x", "", "4294967295", "4294967296", "9" * 30),
    *("nan", "inf", "1e3", "²", " 7"),
]
DATASETS = [
    *("{kind: arrays, path: FILE}", "{kind: images, path: FILE, size: 8}", "{kind: arrays, path: FILE, key: a}"),
    "{kind: arrays, path: FILE, labels: a, drop: [b]}",
]


class Hang(BaseException):
    """A command took too long."""


class Fuzzer:
    """Draws commands. Each has a folder of its own, with a run and files of the user's."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.kinds = (
            self.config,
            self.override,
            self.file,
            self.path,
            self.checkpoint,
            self.run,
            self.number,
            self.output,
            self.export,
            self.space,
        )

    def of(self, *choices: str) -> str:
        return self.chance.choice(choices)

    def damaged(self, content: bytes) -> bytes:
        """The bytes cut, overwritten, repeated or exchanged in one to three places."""
        for _ in range(self.chance.randint(1, 3)):
            at, size = self.chance.randrange(len(content) + 1), self.chance.choice([1, 1, 4, 40])
            new = self.chance.choice([b"", self.chance.randbytes(size), content[at : at + size] * 2, b"\0" * size])
            content = content[:at] + new + content[at + self.chance.choice([0, size]) :]
        return content[: self.chance.randrange(len(content) + 1)] if self.chance.random() < 0.1 else content

    def damage(self, path: Path) -> None:
        path.write_bytes(self.damaged(path.read_bytes()))

    def config(self) -> list[str]:
        """A shipped config, damaged in its bytes or in the value of a key."""
        text = shipped.read(self.of("normal_gp", "ring_gp", "normal512_gp", "mnist_gp"))
        if self.chance.random() < 0.5:
            Path("mine.yaml").write_bytes(self.damaged(text.encode()))
        else:
            lines = text.splitlines()
            i = self.chance.randrange(len(lines))
            lines[i] = lines[i].partition(":")[0] + ": " + self.of(*VALUES)
            Path("mine.yaml").write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")
        return ["train", "mine.yaml", "--dry-run"]

    def override(self) -> list[str]:
        """One or two --set of known or odd keys."""
        keys = ["seed", "data", "data.path", "data.root", "latent.dim", "generator", "generator.hidden", "critic.norm"]
        keys += [
            "lipschitz",
            "lipschitz.weight",
            "optimizer",
            "optimizer.critic.betas",
            "training.batch_size",
            "output",
        ]
        keys += [
            "training.iterations.x",
            "condition",
            "objective",
            "",
            ".",
            "a.b.c",
            "seed.",
            "data.kind",
            "generator.kind",
        ]
        sets = [f"--set={self.of(*keys)}{self.of('=', '=', '=', '', '==')}{self.of(*VALUES)}" for _ in range(2)]
        return ["train", self.of("normal_gp", "ring_gp", "mnist_gp"), "--dry-run", *sets[: self.chance.randint(1, 2)]]

    def file(self) -> list[str]:
        """A damaged file of samples, for each command that reads one."""
        name = self.of("table.csv", "table.npy", "table.npz", "table.pt", "pictures.zip", "images.npy", "table.parquet")
        if self.chance.random() < 0.8:
            self.damage(Path(name))
        data = self.of(*DATASETS).replace("FILE", name)
        return self.chance.choice(
            [
                ["data", name, *self.chance.choice([[], ["--json"], ["--key", "a"], ["--plot", "new.png"]])],
                ["init", "--data", name, "--out", self.of("-", "new.yaml")],
                ["distance", name, "other.npy", "--method", self.of("exact", "sliced", "gaussian", "1d", "sinkhorn")],
                [
                    "train",
                    "normal_gp",
                    "--out=new",
                    "--set=training={iterations: 1, batch_size: 2}",
                    f"--set=data={data}",
                ],
            ]
        )

    def path(self) -> list[str]:
        """An odd path, in the place of each argument and option that is one."""
        path = self.of(*PATHS)
        return self.chance.choice(
            [
                ["sample", "run", "--num=4", "--out", path],
                ["sample", path],
                ["sample", "run", "--given-from", path],
                ["evaluate", "--ckpt", path, "--num=4"],
                ["plot", path, "--out", "new.png"],
                ["plot", "run", "--dpi=20", "--out", path],
                ["runs", path],
                ["data", path],
                ["data", "table.csv", "--plot", path],
                ["distance", path, "table.npy"],
                ["distance", "other.npy", "table.npy", "--method=critic", "--config", path],
                ["init", "--out", path],
                ["train", path, "--dry-run"],
                ["train", "normal_gp", "--out", path, "--set=training={iterations: 1, batch_size: 2}"],
            ]
        )

    def checkpoint(self) -> list[str]:
        """A damaged checkpoint, or another file in its place."""
        (path,) = Path("run/checkpoints").glob("0*.pt")
        self.damage(path)
        target = self.of("run", str(path))
        return [self.of("sample", "sample", "evaluate"), target, "--num=4", *self.chance.choice([[], ["--best"]])]

    def run(self) -> list[str]:
        """A damaged file in the folder of a run."""
        self.damage(Path("run") / self.of("metrics.jsonl", "status.json", "config.yaml", "samples/000000002.png"))
        resume = ["train", "normal_gp", "--out=run", "--resume", *QUICK]
        return self.chance.choice([["runs", "."], ["runs", ".", "--json"], ["plot", "run", "--dpi=20"], resume])

    def number(self) -> list[str]:
        """Odd numbers, alone or in lists."""
        number, other = self.of(*NUMBERS), self.of(*NUMBERS)
        return self.chance.choice(
            [
                ["sample", "run", "--num=4", f"--seed={number}"],
                ["sample", "run", f"--seeds={number}{self.of(',', '-', '')}{other}"[:60]],
                ["sample", "run", "--num=4", f"--interpolate={number},{other}"],
                ["sample", "run", f"--class={number}", f"--given={other}"],
                ["distance", "table.npy", "other.npy", f"--p={number}", f"--num={other}"],
                ["distance", "table.npy", "other.npy", "--method=sinkhorn", f"--epsilon={number}", f"--p={other}"],
                ["distance", "table.npy", "other.npy", f"--confidence={number}"],
                ["plot", "run", f"--dpi={number}"],
            ]
        )

    def output(self) -> list[str]:
        """A command whose result goes to a full or closed stdout, or to a file that may not grow (see `executed`)."""
        return self.chance.choice(
            [
                ["configs"],
                ["configs", "--schema"],
                ["runs", "."],
                ["data", "table.csv", "--json"],
                ["sample", "run", "--num=500", "--out", self.of("new.npz", "new.png", "new.csv", "new")],
                ["plot", "run", "--dpi=20", "--out", self.of("new.png", "new.gif", "new.svg")],
                ["init", "--out", self.of("-", "new.yaml")],
                ["train", "normal_gp", "--out=new", *QUICK],
            ]
        )

    def export(self) -> list[str]:
        """An exported generator, damaged, or odd paths for what is exported."""
        path = self.of(*PATHS, "new.safetensors", "README.md", "generator.safetensors")
        if self.chance.random() < 0.5:
            self.damage(Path("generator.safetensors"))
        return self.chance.choice(
            [
                [self.of("sample", "evaluate"), "generator.safetensors", "--num=4"],
                ["export", "run", "--out", path],
                ["export", path, "--out", "new.safetensors"],
                ["export", "run", "--out=new.safetensors", "--card", path],
            ]
        )

    def space(self) -> list[str]:
        """A damaged space of configs. What is right is refused too, for its --out, as no case should train for long."""
        if self.chance.random() < 0.5:
            Path("space.yaml").write_bytes(self.damaged(SPACE.encode()))
        else:
            key, at = self.of("{choices: [1, 5]}", "low: 1.0e-5", "truth/w1", "normal_gp"), self.of(*VALUES)
            Path("space.yaml").write_text(SPACE.replace(key, at), encoding="utf-8", errors="surrogatepass")
        numbers = [f"--trials={self.of(*NUMBERS)}", f"--jobs={self.of(*NUMBERS)}"]
        return ["search", "space.yaml", "--out=table.csv", *self.chance.choice([[], numbers])]


SPACE = """config: normal_gp
objective: truth/w1
space:
  training.n_critic: {choices: [1, 5]}
  optimizer.critic.lr: {low: 1.0e-5, high: 0.01, log: true}
"""
QUICK = ("--set=training={iterations: 2, batch_size: 4, n_critic: 1}", "--set=generator.hidden=[4]", "--device=cpu")


def write_files(folder: Path) -> None:
    """Writes what each case finds in its folder: a run, and files of the user's."""
    chance = np.random.default_rng(0)
    values = chance.normal(size=(12, 3)).astype(np.float32)
    np.save(folder / "table.npy", values)
    np.save(folder / "other.npy", values + 1)
    np.save(folder / "images.npy", chance.integers(0, 255, (8, 1, 8, 8)).astype(np.uint8))
    np.savez(folder / "table.npz", a=values)
    np.savetxt(folder / "table.csv", values, delimiter=",", header="a,b,c", comments="")
    torch.save(torch.from_numpy(values), folder / "table.pt")
    (folder / "table.parquet").write_bytes(b"PAR1" + chance.bytes(100) + b"PAR1")
    with zipfile.ZipFile(folder / "pictures.zip", "w") as pictures:
        for i in range(6):
            buffer = io.BytesIO()
            Image.fromarray(chance.integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(buffer, "PNG")
            pictures.writestr(f"{i}.png", buffer.getvalue())
    (folder / "link").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    (folder / "folder").mkdir()
    with contextlib.chdir(folder):
        code, said = executed(["train", "normal_gp", "--out=run", *QUICK], seconds=0)  # it imports torch: no hang
        assert code == 0, said
        code, said = executed(["export", "run", "--out=generator.safetensors"], seconds=0)
    assert code == 0, said


def executed(command: list[str], limit: str = "", seconds: float | None = None) -> tuple[object, str]:
    """The exit code of a command in this process, and its stderr; or the exception that it raised, with its traceback.

    `limit` is "full" or "closed", for stdout, or "small" for a limit on the size of files.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    limits, told = resource.getrlimit(resource.RLIMIT_FSIZE), io.StringIO()
    out, arguments = sys.stdout, sys.argv
    sys.argv = ["wgan", *command]
    signal.setitimer(signal.ITIMER_REAL, SECONDS if seconds is None else seconds)
    try:
        full = Path("/dev/full")
        sys.stdout = full.open("w") if limit == "full" else None if limit == "closed" else io.StringIO()
        if limit == "small":
            resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
        with contextlib.redirect_stderr(told):
            cli.main()
    except SystemExit as stop:
        return stop.code or 0, told.getvalue()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is counted
        return error, told.getvalue() + traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        sys.stdout, sys.argv = out, arguments
        for number, handler in before.items():
            signal.signal(number, handler)
    raise AssertionError("main always exits")


def contents(folder: Path) -> dict[str, str]:
    """The digest of each file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def changed(command: list[str], before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The files of the user's that a command changed or removed, and was not asked to write."""
    asked = [word.partition("=")[2] or word for word in command]
    resumes = "--resume" in command
    return [
        name
        for name, digest in before.items()
        if after.get(name) != digest and name not in asked and not (resumes and name.startswith("run/"))
    ]


def tried(fuzzer: Fuzzer, model: Path) -> tuple[str, str, list[str], str]:
    """One case: its kind, what is wrong with it ("" for nothing), its command, and what it said."""
    kind: Callable[[], list[str]] = fuzzer.chance.choice(fuzzer.kinds)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(shutil.copytree(model, Path(folder) / "work", symlinks=True))
        with contextlib.chdir(work):
            command = kind()
            limit = fuzzer.of("full", "closed", "small") if kind.__name__ == "output" else ""
            os.environ["HOME"] = str(work)  # what ~ means
            before = contents(work)
            code, said = executed(command, limit)
            lost = changed(command, before, contents(work))
    wrong = "hang" if isinstance(code, Hang) else "traceback" if isinstance(code, BaseException) else ""
    if not wrong and ("Traceback" in said or code not in CODES):
        wrong = "traceback"
    return kind.__name__, wrong or ("changed file" if lost else ""), command, f"{said}\n{lost or ''}"


def cases(count: int, seed: int, only: int | None = None) -> Iterator[tuple[int, str, str, list[str], str]]:
    """The number of each case, and what `tried` found in it. Case i has a seed of its own."""

    def stop(*_: object) -> None:
        raise Hang

    before, home = signal.signal(signal.SIGALRM, stop), os.environ.get("HOME")
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder)
            write_files(model)
            for i in range(count) if only is None else [only]:
                yield i, *tried(Fuzzer(seed * 1_000_003 + i), model)
    finally:
        signal.signal(signal.SIGALRM, before)
        if home is not None:
            os.environ["HOME"] = home


def main() -> None:
    """Tries the cases of the command line, and exits with 1 if one is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one case to repeat")
    arguments = parser.parse_args()
    tries: Counter[str] = Counter()
    faults: Counter[tuple[str, str]] = Counter()
    for i, kind, wrong, command, said in cases(arguments.cases, arguments.seed, arguments.only):
        tries[kind] += 1
        if wrong:
            faults[kind, wrong] += 1
        if wrong or arguments.only is not None:
            print(
                f"case {i}: {wrong or 'right'}: wgan {json.dumps(command, ensure_ascii=False)}\n{said}", file=sys.stderr
            )
    names = ("traceback", "hang", "changed file")
    print(f"{'kind':12} {'tried':>6} " + " ".join(f"{name:>13}" for name in names))
    for kind, count in sorted(tries.items()):
        print(f"{kind:12} {count:6} " + " ".join(f"{faults[kind, name]:13}" for name in names))
    sys.exit(bool(faults))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
