"""One of each fault of `scripts/fault_test.py`, which tries a hundred when it is run by itself."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "scripts" / "fault_test.py"


def test_no_fault_loses_a_run() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--tries", "1"], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert len(rows) >= 7
    assert all(int(row[-2]) >= 1 and row[-1] == "0" for row in rows)
