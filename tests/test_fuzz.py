"""Some cases of `scripts/fuzz.py`, which tries thousands when it is run by itself; and that it finds what is wrong."""

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.test_scripts import SCRIPTS
from wgan_cli.config import shipped

sys.path.insert(0, str(SCRIPTS))
fuzz = importlib.import_module("fuzz")
sys.path.remove(str(SCRIPTS))


def test_no_case_ends_in_a_traceback_a_hang_or_a_changed_file() -> None:
    found = list(fuzz.cases(40, seed=7))
    assert [case for case in found if case[2]] == []
    assert len({kind for _, kind, *_ in found}) >= 7


@pytest.mark.parametrize("wrong", ["traceback", "hang", "changed file"])
def test_each_wrong_is_found(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    def names() -> list[str]:
        if wrong == "traceback":
            raise ValueError("a fault of our own")
        if wrong == "hang":
            time.sleep(60)
        Path("table.csv").write_text("gone")
        return ["normal_gp"]

    def output(self: Any) -> list[str]:
        return ["configs"]

    monkeypatch.setattr(shipped, "names", names)
    monkeypatch.setattr(fuzz, "SECONDS", 0.5)
    monkeypatch.setattr(fuzz, "write_files", lambda folder: (folder / "table.csv").write_text("mine"))
    monkeypatch.setattr(fuzz.Fuzzer, "config", output)
    for kind in ("override", "file", "path", "checkpoint", "run", "number", "output", "export", "space"):
        monkeypatch.setattr(fuzz.Fuzzer, kind, output)
    ((_, _, found, command, _),) = fuzz.cases(1, seed=0)
    assert (found, command) == (wrong, ["configs"])


def test_the_same_seed_draws_the_same_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one, same, other = ([fuzz.Fuzzer(seed).override() for _ in range(3)] for seed in (5, 5, 6))
    assert one == same != other
