#!/usr/bin/env bash
# Print one working interpreter a line for each Python 3.11 or newer found, oldest version first: `3.11 /path`.
# An interpreter counts when it runs: pyenv leaves commands on PATH that only print an error.
set -euo pipefail
shopt -s nullglob

report() {
    "$1" -c 'import sys; v = sys.version_info; v >= (3, 11) and print(f"{v[0]}.{v[1]}", sys.executable)' 2>/dev/null || true
}

{
    for name in python3 python3.{11..19}; do
        if command -v "$name" >/dev/null; then report "$name"; fi
    done
    for path in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3; do report "$path"; done
} | sort -s -t. -k2,2n -u
