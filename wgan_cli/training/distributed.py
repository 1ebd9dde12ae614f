"""Ranks: the processes of one run, started by torchrun or Slurm's srun.

Every rank draws the same global random numbers and takes its share of them. So N ranks compute the same as one process
with the same global batch. torch.distributed communicates: gloo on the CPU, NCCL between GPUs.
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from wgan_cli.errors import BadInputError, WganError

Result = TypeVar("Result")

LOST_AFTER = timedelta(seconds=50)
"""A rank that does not answer for this long during training counts as lost. A rank that dies is noticed at once."""
PATIENCE = timedelta(minutes=30)
"""The longest wait for ranks to start, and for one rank to download the data or read it from a slow disk."""


@dataclass(frozen=True)
class World:
    """The rank of this process, and the number of processes of its run. A single process never communicates."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """The rank among the processes on this machine, which selects the GPU."""

    @property
    def is_first(self) -> bool:
        """Whether this rank writes the run's folder and prints."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """This rank's part of a global batch; `batch_size` divides by the number of ranks."""
        each = batch_size // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces each gradient by its mean over the ranks, through one flat buffer.

        Each rank's loss is a mean over equally many samples, so the result is the gradient of the whole batch's loss.
        """
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self._reduce(flat, dist.ReduceOp.SUM)
        parts = flat.div_(self.size).split([gradient.numel() for gradient in gradients])
        torch._foreach_copy_(gradients, [part.view_as(to) for part, to in zip(parts, gradients, strict=True)])

    def mean(self, values: Tensor) -> Tensor:
        """The mean of `values` over the ranks."""
        return values if self.size == 1 else self._reduce(values.clone(), dist.ReduceOp.SUM) / self.size

    def largest(self, values: Tensor) -> Tensor:
        """The largest value of each entry of `values` over the ranks."""
        return values if self.size == 1 else self._reduce(values.clone(), dist.ReduceOp.MAX)

    def _reduce(self, values: Tensor, operation: Any) -> Tensor:
        with _lost_ranks_reported():
            dist.all_reduce(values, operation)
        return values

    def on_all_ranks(self, action: Callable[[], Result]) -> Result:
        """Runs `action` on every rank. If it fails on any, all raise the `WganError` of the lowest rank that failed."""
        if self.size == 1:
            return action()
        result, fault = _attempt(action)
        faults: list[WganError | None] = [None] * self.size
        with _lost_ranks_reported():
            dist.all_gather_object(faults, fault, group=_patient_group())
        for rank, fault in enumerate(faults):
            if fault is not None:
                where = f"rank {rank}: " if rank else ""
                raise _on_all_ranks(WganError(f"{where}{fault}", fault.exit_code))
        return result  # type: ignore[return-value]  # no rank has failed, so this one has a result

    def on_first_rank(self, action: Callable[[], Result]) -> Result:
        """Runs `action` on the first rank alone. Every rank returns its result, or raises its `WganError`."""
        if self.size == 1:
            return action()
        outcome: list[Any] = list(_attempt(action)) if self.is_first else [None, None]
        with _lost_ranks_reported():
            dist.broadcast_object_list(outcome, src=0, group=_patient_group())
        result, fault = outcome
        if fault is not None:
            raise _on_all_ranks(fault)
        return result


ALONE = World()


def _attempt(action: Callable[[], Result]) -> tuple[Result | None, WganError | None]:
    try:
        return action(), None
    except WganError as error:
        return None, WganError(
            str(error), error.exit_code
        )  # of the base class and without its cause, so that it can be sent


def _on_all_ranks(error: WganError) -> WganError:
    error.on_all_ranks = True
    return error


@contextmanager
def _lost_ranks_reported() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("\n")[0][:200]
        raise WganError(f"lost the other ranks ({reason}); the first of them to fail says why") from error


def find_world(environment: Mapping[str, str] = os.environ) -> World:
    """The rank of this process, from the variables of torchrun (RANK, ...) or srun (SLURM_PROCID, ...).

    Raises `BadInputError` for values that are no rank and number of ranks.
    """
    for names in (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", _slurm_size(environment), "SLURM_LOCALID")):
        rank, size, local = (environment.get(name) for name in names)
        if rank is None or size is None:
            continue
        try:
            world = World(int(rank), int(size), int(local or 0))
        except ValueError:
            raise BadInputError(f"{names[0]}={rank}, {names[1]}={size}: must be whole numbers") from None
        if not 0 <= world.rank < world.size:
            raise BadInputError(f"{names[0]}={rank} is not below {names[1]}={size}")
        return world
    return ALONE


def _slurm_size(environment: Mapping[str, str]) -> str:
    """The variable with the number of tasks of this srun; the number of tasks of the job can be larger."""
    return "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"


@contextmanager
def joined(world: World, device: torch.device) -> Iterator[None]:
    """Connects to the other ranks while the context lasts. Raises `WganError` if they don't start."""
    if world.size == 1:
        yield
        return
    if "RANK" not in os.environ:
        os.environ |= _slurm_rendezvous(world, os.environ)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        store, _, _ = next(rendezvous("env://", world.rank, world.size, timeout=PATIENCE))
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=world.rank, world_size=world.size, timeout=LOST_AFTER)
        _patient_group()
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise WganError(
            f"rank {world.rank} of {world.size} could not connect to the others at "
            f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')} ({reason}); start all by torchrun or srun"
        ) from error
    try:
        yield
    except WganError as error:
        if error.on_all_ranks:  # wait, because the first rank may still be writing
            _leave()
        raise
    _leave()


def _leave() -> None:
    """Waits until all ranks are done, because a launcher may kill the others when one exits, and disconnects."""
    with _lost_ranks_reported():
        dist.barrier(_patient_group())
        _patient.clear()
        dist.destroy_process_group()


_patient: list[Any] = []


def _patient_group() -> Any:
    """A gloo group on the CPU with a longer time limit. All ranks create it when they connect."""
    if not _patient:
        _patient.append(dist.new_group(backend="gloo", timeout=PATIENCE))
    return _patient[0]


def _slurm_rendezvous(world: World, environment: Mapping[str, str]) -> dict[str, str]:
    """The address of the first rank of an srun: the step's first machine, and a port derived from job and step."""
    job, step = (int(environment.get(name, "0")) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    port = 20_000 + (job * 31 + step) % 20_000
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST") or "localhost"
    return {
        "RANK": str(world.rank),
        "WORLD_SIZE": str(world.size),
        "MASTER_ADDR": environment.get("MASTER_ADDR") or _first_host(nodes),
        "MASTER_PORT": environment.get("MASTER_PORT") or str(port),
    }


def _first_host(nodes: str) -> str:
    """The first of a Slurm node list such as `gpu[03-05,9],login1`: gpu03."""
    try:
        done = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, timeout=30)
        if done.returncode == 0 and done.stdout:
            return done.stdout.split()[0]
    except (OSError, subprocess.TimeoutExpired):
        pass  # no scontrol, as inside a container: parse the usual forms of the list below
    match = re.match(r"([^\[,]+)(?:\[([^\],-]+))?", nodes)
    if match is None:
        raise BadInputError(f"SLURM_JOB_NODELIST={nodes}: can't be read; export MASTER_ADDR, the first node's name")
    return match[1] + (match[2] or "")
