#!/usr/bin/env bash
# Train the built-in 1-D normal on a fresh machine: makes .venv, installs, trains, prints the run's folder.
set -euo pipefail
# shellcheck source=scripts/venv.sh
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
echo "installing into .venv (PyTorch is large: a few minutes the first time) ..." >&2
bin=$(ensure_venv "")
"$bin/wgan" train --config normal_gp "$@"
