#!/usr/bin/env bash
# Sourced by the other scripts: `ensure_venv EXTRAS` makes .venv in the checkout if it isn't there, installs the
# project and EXTRAS ("" or "[test]") into it, and prints its bin folder. WGAN_PYTHON names another interpreter.
ensure_venv() {
    local root extras=$1 python=${WGAN_PYTHON:-}
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    if [ -z "$python" ]; then
        for python in python3 python3.14 python3.13 python3.12 python3.11; do
            "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
            python=
        done
    fi
    if [ -z "$python" ]; then
        echo "wgan needs Python 3.11 or newer; install it, or name it by WGAN_PYTHON" >&2
        return 1
    fi
    if [ ! -x "$root/.venv/bin/pip" ]; then
        "$python" -m venv "$root/.venv"
    fi
    # Editable, so that the two scripts share one environment and see the source as it stands.
    "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check -e "$root$extras" >&2
    echo "$root/.venv/bin"
}
