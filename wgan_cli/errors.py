"""Problems that a user can fix, and the exit code of each."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of the command line. Scripts depend on these numbers."""

    DONE = 0
    RUN_FAILED = 1
    BAD_INPUT = 2  # a bad command or config: nothing was touched
    DIVERGED = 3  # training is no longer finite; checkpoints of before are kept
    STOPPED = 75  # stopped by a signal with the state saved: run the same line again


class WganError(Exception):
    """A problem that the user can fix: one line per fault, with the file, the key and the remedy.

    All rooms raise it. Only `commands/boundary.py` prints it, and `wgan` exits with its `exit_code`.
    """

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.RUN_FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.on_all_ranks = exit_code != ExitCode.RUN_FAILED
        """Whether every rank of a run raises it, so that only the first rank needs to print it."""


class BadInputError(WganError):
    """A bad command, config or file, found before anything was written."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.BAD_INPUT)


TOO_LITTLE = ("allocate", "out of memory", "ALLOC_FAILED")
"""How torch's errors say so that have no class of their own: on the CPU, by CUDA's driver, and by its libraries."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, NumPy or torch found too little memory."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and any(words in str(error) for words in TOO_LITTLE))
