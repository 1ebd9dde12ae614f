"""Scripts depend on the exit codes."""

import pytest
import torch

from wgan_cli.errors import BadInputError, ExitCode, WganError, is_out_of_memory


def test_exit_codes_are_those_that_scripts_depend_on() -> None:
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 75]


@pytest.mark.parametrize(
    ("error", "code", "on_all_ranks"),
    [
        (WganError("x"), 1, False),
        (BadInputError("x"), 2, True),
        (WganError("x", ExitCode.DIVERGED), 3, True),
        (WganError("x", ExitCode.STOPPED), 75, True),
    ],
)
def test_each_error_has_its_exit_code(error: WganError, code: int, on_all_ranks: bool) -> None:
    assert (str(error), error.exit_code, error.on_all_ranks) == ("x", code, on_all_ranks)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: operation not permitted when stream is capturing"), False),
        (ValueError("can't allocate"), False),
    ],
)
def test_too_little_memory_is_known_by_its_class_or_its_words(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected
