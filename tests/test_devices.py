import ctypes
import os
from pathlib import Path

import pytest
import torch

from wgan_cli import devices
from wgan_cli.devices import (
    deterministic_kernels,
    pick_device,
    set_precision,
    tune_process,
    tuned_process,
)
from wgan_cli.errors import BadInputError


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """torch as it is on a machine with two CUDA devices, as far as `pick_device` asks: those made current, in order."""
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "empty", lambda *_, device: None)
    return current


@pytest.fixture
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("no_accelerator")
def test_auto_is_the_cpu_where_there_is_nothing_better() -> None:
    assert pick_device("auto") == torch.device("cpu")
    assert pick_device("auto", 1) == torch.device("cpu")


@pytest.mark.usefixtures("no_accelerator")
def test_auto_is_mps_for_a_single_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("mps")
    assert pick_device("auto", 0) == torch.device("cpu")  # gloo, which ranks talk through, knows no MPS


def test_a_gpu_with_a_number_becomes_the_current_one(two_gpus: list[torch.device]) -> None:
    pick_device("cuda")
    assert not two_gpus
    pick_device("cuda:1")
    assert two_gpus == [torch.device("cuda:1")]


@pytest.mark.usefixtures("two_gpus")
def test_each_rank_of_a_machine_takes_a_gpu_of_its_own() -> None:
    assert [pick_device("auto", rank) for rank in (None, 0, 1)] == list(map(torch.device, ("cuda", "cuda:0", "cuda:1")))
    assert pick_device("cuda", 1) == torch.device("cuda:1")
    assert pick_device("cuda", 3) == torch.device("cuda:1")
    assert pick_device("cuda:0", 1) == torch.device("cuda:0")  # as asked


@pytest.mark.usefixtures("two_gpus")
def test_a_rank_takes_the_only_gpu_that_slurm_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device("cuda", 1) == torch.device("cuda:0")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("abacus", "use auto or cpu"), ("meta", "computes on cpu, cuda or mps"), ("cuda:99", "use auto or cpu")],
)
def test_a_device_that_is_not_here_is_refused_by_its_name(name: str, reason: str) -> None:
    with pytest.raises(BadInputError, match=f"^--device {name}: not available here .*{reason}") as caught:
        pick_device(name)
    assert "\n" not in str(caught.value)


def test_a_system_without_mallopt_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: asked.append(name) or object())
    monkeypatch.setattr("sys.platform", "linux")
    tune_process("highest")
    assert asked == [None]
    monkeypatch.setattr("sys.platform", "darwin")
    tune_process("highest")
    assert asked == [None]  # not even looked for


def test_products_are_as_exact_as_the_config_says() -> None:
    try:
        for precision in ("high", "medium", "highest"):
            tune_process(precision)
            assert torch.get_float32_matmul_precision() == precision
            assert torch.backends.cudnn.allow_tf32 == (precision != "highest")
    finally:
        tune_process("highest")


def settings() -> tuple[int, str, bool]:
    return torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


def test_a_tuned_process_is_as_before_after_the_context() -> None:
    before = settings()

    def fail() -> None:
        with tuned_process("medium"):
            torch.set_num_threads(2)
            assert settings() == (2, "medium", True)
            raise ValueError("a failure in training")

    with pytest.raises(ValueError, match="a failure in training"):
        fail()
    assert settings() == before


@pytest.mark.parametrize("matmul", ["highest", "high", "medium"])
def test_convolutions_have_the_precision_of_products(matmul: str) -> None:
    threads, precision, _ = settings()
    with tuned_process(precision):  # which ends as it began
        torch.backends.cudnn.allow_tf32 = matmul == "highest"
        set_precision(matmul)
        assert settings() == (threads, matmul, matmul != "highest")


@pytest.mark.parametrize("enabled", [False, True])
def test_deterministic_kernels_are_used_inside_the_context_alone(
    enabled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)

    def fail() -> None:
        with deterministic_kernels(enabled):
            assert torch.are_deterministic_algorithms_enabled() == enabled
            assert torch.backends.cudnn.benchmark != enabled
            raise ValueError("a failure in training")

    with pytest.raises(ValueError, match="a failure in training"):
        fail()
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark


def test_deterministic_kernels_fix_the_workspace_of_cublas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    with deterministic_kernels(True):
        assert os.environ == {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


@pytest.mark.parametrize(
    ("limit", "stat", "free"),
    [("1000", "anon 1\ninactive_file 300\n", 500), ("1000", "anon 1\n", 200), ("max", "", devices.NO_LIMIT)],
)
def test_files_that_were_read_leave_memory_free(
    limit: str, stat: str, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cgroup counts the pages of files as used, and gives them back when memory is needed."""
    group = "/sys/fs/cgroup/job"
    files = {"/proc/self/cgroup": "0::/job\n", f"{group}/memory.max": limit, f"{group}/memory.current": "800\n"}
    files[f"{group}/memory.stat"] = stat
    monkeypatch.setattr(Path, "read_text", lambda path, **_: files[str(path)])
    assert devices._cgroup_memory() == free
