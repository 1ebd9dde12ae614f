"""The error boundary: a user's mistake ends in a line on stderr and an exit code, never in a traceback."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import typer

from wgan_cli.commands.colour import Lines, name_of
from wgan_cli.errors import ExitCode, WganError, is_out_of_memory

# The base class of usage errors. Newer versions of Typer contain their own click, so it is not imported from click.
_UsageError: Any = typer.BadParameter.__base__


def exit_code(command: Callable[[], int | None]) -> int:
    """Executes the command line, reports what goes wrong in it, and returns its exit code.

    A fault of our own, which is no mistake of the user, keeps its traceback.
    """
    if sys.stderr is None:  # as after `2>&-`; bars and logs have somewhere to go
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - open until the process ends
    _set_up_logging()
    threading.excepthook = _report_thread_failure
    try:
        return _finished(command())
    except WganError as error:
        return _report(error)
    except _UsageError as error:
        return _report_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        _tell("interrupted")
        return 128 + 2  # the shell's code for SIGINT; nothing was saved
    except BrokenPipeError:  # the reader has ended, as in `wgan configs | head -1`
        _discard_stdout()
        return 128 + 13
    except OSError as error:
        return _report_os(error)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        _tell("out of memory; take fewer or smaller samples, or a machine with more")
        return ExitCode.RUN_FAILED


def _finished(code: int | None) -> int:
    """The exit code of a command that has returned, after all of its output is written."""
    if code == 130:  # Typer's code for Ctrl-C before a run has begun
        _tell("interrupted")
    if sys.stdout is not None:
        sys.stdout.flush()  # here, so that a closed pipe raises its error here and not at exit
    elif not code and not _is_training():  # a run is what training was asked for; of the others it is the output
        _tell("can't write the result to stdout, which is closed")
        return ExitCode.RUN_FAILED
    return code or ExitCode.DONE


def _tell(what: str) -> None:
    """Prints a line on stderr that says what went wrong."""
    typer.echo(f"{name_of(sys.stderr, logging.ERROR)} {what}", err=True)


def _rank() -> str:
    """The rank of this process if it trains, else 0: tasks of other commands are independent, and each prints."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) if _is_training() else "0"


def _is_training() -> bool:
    return sys.argv[1:2] == ["train"]


def _set_up_logging() -> None:
    """Prints log messages to stderr. Ranks other than the first print only errors."""
    handler = logging.StreamHandler()
    handler.setFormatter(Lines(sys.stderr))
    logging.getLogger("wgan").handlers = [handler]
    logging.getLogger("wgan").setLevel(logging.INFO if _rank() == "0" else logging.ERROR)


def _report(error: WganError) -> ExitCode:
    """Prints the message, one line per fault. Only the first rank prints an error that all ranks raise."""
    rank = _rank()
    if rank == "0" or not error.on_all_ranks:
        where = "" if rank == "0" else f"rank {rank}: "
        for line in str(error).splitlines():
            _tell(f"{where}{line}")
    return error.exit_code


def _report_usage(error: Any) -> ExitCode:
    command = error.ctx.command_path if error.ctx else "wgan"
    message = error.format_message()
    is_help = type(error).__name__ == "NoArgsIsHelpError"  # `wgan` alone
    typer.echo(message if is_help else f"{command}: {message}{_hint(error)} (see `{command} --help`)", err=True)
    return ExitCode.BAD_INPUT


def _hint(error: Any) -> str:
    """What is meant by an option of `wgan train` that has the name of a config's key."""
    if type(error).__name__ != "NoSuchOption" or not _is_training():
        return ""
    from wgan_cli.config.faults import keys_called
    from wgan_cli.config.run_config import RunConfig

    keys = keys_called(error.option_name.lstrip("-").replace("-", "_"), RunConfig)
    return "; did you mean " + " or ".join(f"--set {key}=VALUE" for key in keys) + "?" if keys else ""


def _report_os(error: OSError) -> ExitCode:
    if error.filename is None:  # only an error of stdout has no file name: rooms name their files
        _discard_stdout()
    what = "can't write the result to stdout" if error.filename is None else error.filename
    _tell(f"{what} ({error.strerror})")
    return ExitCode.RUN_FAILED


def _report_thread_failure(failure: threading.ExceptHookArgs) -> None:
    """Prints the traceback of an error in a thread, except an OSError: the run raises that when it writes next."""
    if not issubclass(failure.exc_type, OSError):
        threading.__excepthook__(failure)


def _discard_stdout() -> None:
    """Discards the rest of stdout's buffer, so that Python's exit does not fail on it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
