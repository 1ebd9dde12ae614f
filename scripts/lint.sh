#!/usr/bin/env bash
# What must hold of every line: ruff's rules and format, and mypy on the package. Needs .venv of scripts/test.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/venv.sh
source scripts/venv.sh
bin=$(ensure_venv "[test]")
"$bin/ruff" check .
"$bin/ruff" format --check .
"$bin/mypy"
