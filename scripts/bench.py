"""Measures the speed of training against the loop of tutorials, and against the limit of the machine.

    python scripts/bench.py --data FOLDER                  # every case, five interleaved pairs: some 20 minutes
    python scripts/bench.py --case mnist_gp --engine compile --pairs 7 --json
    python scripts/bench.py --sizes --data FOLDER          # images/s and memory over batch sizes and widths
    python scripts/bench.py --launches --case normal_gp    # kernels that an iteration launches, eager and compiled

A case is one of CASES, or any shipped config. For each, the textbook loop and wgan train the same networks on the same
data in fresh processes, in turn: A B A B ... The ratio is that of a pair's iterations per second: median, least and
greatest. FOLDER holds MNIST/raw; without --data it is $WGAN_DATA or the cache. The share of the peak is wgan's
floating-point operations per second divided by those of large matrix products, measured in the same process right
before and after. The textbook loop always computes in float32, with TF32 exactly where wgan uses it (`--set
training.matmul=high`).
"""

import argparse
import gzip
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from counts import compiled_launches, gflop, launches
from textbook import textbook
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.data.idx import Checksum
from wgan_cli.data.mnist import Mnist
from wgan_cli.devices import pick_device, set_precision, synchronise, tune_process
from wgan_cli.errors import BadInputError
from wgan_cli.training.threads import pick_threads
from wgan_cli.training.trainer import Trainer

MLP = ("generator={kind: mlp, hidden: [256, 512]}", "critic={kind: mlp, hidden: [512, 256]}")
CONV = ("generator={kind: conv, channels: [128, 64, 32]}", "critic={kind: conv, channels: [64, 128]}")
# The networks that the tables were measured with: those that are shipped may change.
PAPER = ("training.n_critic=5", "training.batch_size=64", "latent.dim=128")
CLIP = (*PAPER, *(f"optimizer.{network}={{kind: rmsprop, lr: 2.0e-4}}" for network in ("generator", "critic")))
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "mnist_gp mlp": ("mnist_gp", (*MLP, *PAPER)),
    "mnist_clip mlp": ("mnist_clip", (*MLP, *CLIP)),
    "mnist_gp conv": ("mnist_gp", (*CONV, *PAPER)),
    "mnist_clip conv": ("mnist_clip", (*CONV, *CLIP)),
    "normal512_gp": ("normal512_gp", ()),
    "normal512_clip": ("normal512_clip", ()),
}
"""The shipped config of each case, and what is changed in it; the textbook loop keeps no averaged weights."""


def case_of(name: str) -> tuple[str, tuple[str, ...]]:
    return CASES.get(name, (name, ()))


# --- one process -------------------------------------------------------------------------------------------


def measured(config: RunConfig, who: str, device: torch.device, seconds: float, started: float) -> dict[str, float]:
    """Iterations a second of `who`, its first iteration since the process was started, its memory, and whether it uses
    TF32: both loops compute float32 products and convolutions as `training.matmul` says."""
    set_precision(config.training.matmul)
    if who == "textbook":
        step: Callable[[], Any] = textbook(config, device).__next__
    else:
        trainer = Trainer(config, device)
        tune_for(trainer)
        step = trainer.iterate
    step()
    synchronise(device)
    first = time.time() - started
    for _ in range(5):  # a graph is captured, kernels are compiled, caches are warm
        step()
    # A CPU without bfloat16 takes minutes for such a product, so its peak is measured only for who computes in it.
    types = [] if who == "textbook" else sorted({"float32", config.training.precision})
    before = [peak(device, getattr(torch, name)) for name in types]
    per_second = rate(step, device, seconds)
    after = [peak(device, getattr(torch, name)) for name in types]
    figures = {"iterations_per_second": per_second, "first_iteration_s": first}
    figures["tf32_products"] = float(torch.get_float32_matmul_precision() != "highest")
    figures["tf32_convolutions"] = float(torch.backends.cudnn.allow_tf32)
    if device.type == "cuda":
        figures["kernels_per_iteration"] = kernels(step)
        figures["peak_memory_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    else:
        figures["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    peaks = (statistics.mean(pair) for pair in zip(before, after, strict=True))
    return figures | {f"{name}_peak_gflops": found for name, found in zip(types, peaks, strict=True)}


def tune_for(trainer: Trainer) -> None:
    """Sets precision, memory and threads of this process as `wgan train` does."""
    tune_process(trainer.config.training.matmul)
    torch.set_num_threads(pick_threads(trainer))


def rate(step: Callable[[], Any], device: torch.device, seconds: float) -> float:
    """Iterations a second: the median over chunks of about a tenth of the time."""
    rates, count, end = [], 1, time.perf_counter() + seconds
    while time.perf_counter() < end or len(rates) < 3:
        spent = _timed(step, device, count)
        rates.append(count / spent)
        count = max(1, round(rates[-1] * seconds / 10))
    return statistics.median(rates[1:])


def _timed(step: Callable[[], Any], device: torch.device, count: int) -> float:
    """Seconds that `count` steps take, by the device's own clock where it has one."""
    if device.type == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(count):
            step()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3
    begun = time.perf_counter()
    for _ in range(count):
        step()
    return time.perf_counter() - begun


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """GFLOP/s of a large matrix product: the limit of this machine at this moment."""
    size = 8192 if device.type == "cuda" else 1536
    x = torch.randn(size, size, device=device, dtype=dtype)
    best = min(_timed(lambda: x @ x, device, 1) for _ in range(6))
    return 2 * size**3 / best / 1e9


def kernels(step: Callable[[], Any]) -> float:
    """The number of kernels that an iteration runs on the GPU, replayed ones included."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for _ in range(5):
            step()
        torch.cuda.synchronize()
    return sum(event.device_type == DeviceType.CUDA for event in profiled.events()) / 5


# --- pairs of processes ------------------------------------------------------------------------------------


def in_a_fresh_process(overrides: list[str], name: str, who: str, device: str, seconds: float) -> dict[str, float]:
    """The figures of `measured` in a new process."""
    line = [sys.executable, __file__, "--worker", who, "--case", name, "--device", device, "--seconds", str(seconds)]
    line += ["--started", str(time.time()), *(part for override in overrides for part in ("--set", override))]
    line += ["--synthetic"] * any_files_pass()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(line, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)}\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compared(case: str, more: list[str], device: str, pairs: int, seconds: float) -> dict[str, Any]:
    """The textbook loop and wgan in turn."""
    name, changes = case_of(case)
    overrides = [*changes, *more]
    found: dict[str, list[dict[str, float]]] = {"textbook": [], "wgan": []}
    for _ in range(pairs):
        for who, results in found.items():
            results.append(in_a_fresh_process(overrides, name, who, device, seconds))
    ratios = [
        ours["iterations_per_second"] / theirs["iterations_per_second"]
        for ours, theirs in zip(found["wgan"], found["textbook"], strict=True)
    ]
    config = load_config(name, overrides)
    medians = {
        who: {key: statistics.median(result[key] for result in results) for key in results[0]}
        for who, results in found.items()
    }
    ours, work = medians["wgan"], gflop(config)
    images = config.training.n_critic * config.training.batch_size
    figures = {
        "case": case,
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_greatest": max(ratios),
        "textbook_iterations_per_second": medians["textbook"]["iterations_per_second"],
        "textbook_memory_mb": medians["textbook"]["peak_memory_mb"],
        "textbook_tf32_products": medians["textbook"]["tf32_products"],
        "textbook_tf32_convolutions": medians["textbook"]["tf32_convolutions"],
        **ours,
        "images_per_second": ours["iterations_per_second"] * images,
        "gflop_per_iteration": work,
    }
    for dtype in sorted({"float32", config.training.precision}):
        figures[f"share_of_{dtype}_peak"] = statistics.median(
            result["iterations_per_second"] * work / result[f"{dtype}_peak_gflops"] for result in found["wgan"]
        )
    return figures


def sizes(more: list[str], device: str, seconds: float) -> Iterator[dict[str, Any]]:
    """mnist_gp's convolutions over batch sizes, then over widths."""
    for batch, width in [(32, 64), (64, 64), (256, 64), (1024, 64), (4096, 64), (64, 32), (64, 128), (64, 256)]:
        changed = [*CASES["mnist_gp conv"][1], f"training.batch_size={batch}", *more]
        changed.append(f"critic.channels=[{width}, {2 * width}]")
        changed.append(f"generator.channels=[{2 * width}, {width}, {width // 2}]")
        found = in_a_fresh_process(changed, "mnist_gp", "wgan", device, seconds)
        rate = found["iterations_per_second"] * batch * load_config("mnist_gp", changed).training.n_critic
        figures = {"batch_size": batch, "critic_width": width, "generator_width": 2 * width}
        yield figures | {"images_per_second": rate, "peak_memory_mb": found["peak_memory_mb"]}


def counted(case: str, more: list[str]) -> dict[str, Any]:
    """The kernels that an iteration launches; compiled ones only where the config can be compiled."""
    name, changes = case_of(case)
    figures: dict[str, Any] = {"case": case, "launches": launches(load_config(name, [*changes, *more]))}
    try:
        compiled = load_config(name, [*changes, *more, "training.engine=compile"])
    except BadInputError as error:
        return figures | {"compiled": str(error)}
    return figures | {"compiled": compiled_launches(compiled)}


def machine(device: torch.device) -> str:
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        name = f"{models[0].partition(': ')[2] if models else platform.machine()}, {torch.get_num_threads()} threads"
    return f"{name}; torch {torch.__version__}, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--case", action="append", help=f"a shipped config, or one of: {', '.join(CASES)}; may be given again"
    )
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--data", help="the folder above MNIST/raw")
    parser.add_argument("--synthetic", action="store_true", help="random images in MNIST's place: as fast, no files")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8, help="measured in each process")
    parser.add_argument("--set", action="append", default=[], help="a change to every case, as for wgan train")
    parser.add_argument("--sizes", action="store_true")
    parser.add_argument("--launches", action="store_true")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--worker", choices=("textbook", "wgan"), help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    device = pick_device(options.device)
    if options.synthetic:
        let_any_files_pass()
    if options.worker:
        config = load_config(options.case[0], options.set)
        print(json.dumps(measured(config, options.worker, device, options.seconds, options.started)))
        return
    print(machine(device), file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if options.synthetic:
            write_random_images(Path(folder))
        else:
            unpack(Mnist(root=options.data), Path(folder))
        os.environ["WGAN_DATA"] = folder
        report(options)


UNKNOWN = Checksum(gzipped="")


def let_any_files_pass() -> None:
    """Has this process accept gunzipped files of any content as MNIST's."""
    Mnist.checksums = dict.fromkeys(Mnist.checksums, UNKNOWN)


def any_files_pass() -> bool:
    return UNKNOWN in Mnist.checksums.values()


def write_random_images(folder: Path) -> None:
    """Writes random images and labels as files of MNIST's names and format."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        for kind, shape, top in (("images-idx3", (count, 28, 28), 256), ("labels-idx1", (count,), 10)):
            sizes = b"".join(size.to_bytes(4, "big") for size in shape)
            content = torch.randint(top, shape, dtype=torch.uint8).numpy().tobytes()
            (raw / f"{part}-{kind}-ubyte").write_bytes(b"\x00\x00\x08" + bytes([len(shape)]) + sizes + content)


def unpack(data: Mnist, folder: Path) -> None:
    """Gunzips MNIST's files into `folder`: torchvision reads no others."""
    data.fetch()
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in data.folder.iterdir():
        if path.suffix == ".gz":
            (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        elif path.is_file():
            shutil.copy(path, raw)


def report(options: argparse.Namespace) -> None:
    """Measures what was asked for, and prints a line for each case or size."""
    more = [f"training.engine={options.engine}", f"training.precision={options.precision}", *options.set]
    chosen = options.case or list(CASES)
    if options.launches:
        results: Any = (counted(case, more) for case in chosen)
    elif options.sizes:
        results = sizes(more, options.device, options.seconds)
    else:
        results = (compared(case, more, options.device, options.pairs, options.seconds) for case in chosen)
    for figures in results:
        if options.json:
            print(json.dumps(figures), flush=True)
        else:
            cells = (f"{key} {f'{value:.4g}' if isinstance(value, float) else value}" for key, value in figures.items())
            print("  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
