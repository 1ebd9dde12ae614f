from collections.abc import Callable
from pathlib import Path

import pytest

from tests.config.helpers import GOOD

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(text)` returns the path of a config file with this text; `write(old=..., new=...)` changes a good one."""

    def to_file(text: str = GOOD, *, old: str = "", new: str = "") -> str:
        assert old in text
        path = tmp_path / "run.yaml"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return str(path)

    return to_file


@pytest.fixture
def good(write: Write) -> str:
    """The path of a good config."""
    return write()
