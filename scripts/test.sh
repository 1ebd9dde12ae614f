#!/usr/bin/env bash
# Install what the tests need into .venv, and run them. Arguments go to pytest: `bash scripts/test.sh -k clip`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/venv.sh
source scripts/venv.sh
bin=$(ensure_venv "[test]")
"$bin/python" -m pytest -n 2 --dist worksteal "$@"
