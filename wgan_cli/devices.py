"""Devices, CPU threads and the settings of this process."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from wgan_cli.errors import BadInputError

KINDS = ("cpu", "cuda", "mps")


def pick_device(name: str, local_rank: int | None = None) -> torch.device:
    """The device called `name`. `auto` is the first one available of CUDA, Apple's MPS and the CPU.

    `local_rank` is given if several ranks share this machine: each then takes its own GPU. A GPU that is picked by its
    number becomes the current one of this process, on which streams and graphs are made.
    Raises `BadInputError` for a device that this machine or this build of torch lacks.
    """
    if name == "auto":
        if torch.cuda.is_available():
            name = "cuda"
        else:
            return torch.device("mps" if torch.backends.mps.is_available() and local_rank is None else "cpu")
    if name == "cuda" and local_rank is not None:
        # Slurm may show each rank only its own GPU, which then has index 0.
        name = f"cuda:{local_rank % max(torch.cuda.device_count(), 1)}"
    if name.partition(":")[0] not in KINDS:  # torch's own list is long, and of no use here
        raise BadInputError(f"--device {name}: not available here (wgan computes on cpu, cuda or mps); use auto or cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts, one without MPS raises
        reason = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
        raise BadInputError(f"--device {name}: not available here ({reason}); use auto or cpu") from error
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    return device


def synchronise(device: torch.device) -> None:
    """Waits until `device` has done all that it was given. Python only enqueues the work of a GPU, and goes on."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@contextmanager
def deterministic_kernels(enabled: bool) -> Iterator[None]:
    """Inside the context, if `enabled`, torch uses only kernels that give the same bits each time.

    Enter it before the first computation on a GPU, because cuBLAS reads the size of its workspace then.
    """
    if not enabled:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def set_precision(matmul: str) -> None:
    """Sets the precision of float32 products (`training.matmul`), and that of cuDNN's convolutions, which by default
    use TF32 where products do not."""
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32 = matmul != "highest"


def tune_process(matmul: str) -> None:
    """Sets the precision of float32 products (`training.matmul`), and glibc's allocator.

    By default glibc returns freed memory to the kernel at once and maps each large block again, so a training step
    on the CPU spends much time in page faults. Other systems have no `mallopt`; their allocators are not changed.
    """
    set_precision(matmul)
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # glibc's malloc.h
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_threshold, 2**30)


def free_memory(device: torch.device) -> int:
    """The bytes that this process may still allocate on `device`: on the CPU within the limits of the machine, the
    process and its cgroup."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch's own, to use again
        return torch.cuda.mem_get_info(device)[0] + cached
    return min(_machine_memory(), _process_memory(), _cgroup_memory())


NO_LIMIT = 1 << 62


def _machine_memory() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux: all of the memory is the best that is known
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else NO_LIMIT
    (available,) = (line for line in lines if line.startswith("MemAvailable:"))
    return int(available.split()[1]) * 1024


def _process_memory() -> int:
    """What is left of `ulimit -v`."""
    if sys.platform == "win32":
        return NO_LIMIT
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY or not Path("/proc/self/statm").exists():
        return NO_LIMIT
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return max(0, limit - used)


def _cgroup_memory() -> int:
    """What is left of the memory limit of the process's cgroup (version 2), where there is one."""
    try:
        group = Path("/proc/self/cgroup").read_text(encoding="ascii").rpartition("::")[2].strip().lstrip("/")
        folder = Path("/sys/fs/cgroup") / group
        limit, used = ((folder / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        if limit == "max":
            return NO_LIMIT
        stat = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
        files = int(stat.get("inactive_file", 0))  # pages of files that were read, given back when needed
        return max(0, int(limit) - int(used) + files)
    except (OSError, ValueError):
        return NO_LIMIT


@contextmanager
def tuned_process(matmul: str) -> Iterator[None]:
    """`tune_process`, and the number of threads that is set inside, for the context alone: a notebook's next run starts
    with its own."""
    before = torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    tune_process(matmul)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])
        torch.backends.cudnn.allow_tf32 = before[2]
