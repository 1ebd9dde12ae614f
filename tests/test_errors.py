"""Scripts depend on the exit codes."""

import pytest

from wgan_cli.errors import BadInputError, ExitCode, WganError


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
