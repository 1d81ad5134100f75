#!/usr/bin/env bash
# Build the wheel, install it without extras into fresh environments of the oldest and of the newest Python found,
# and compile an ONNX file there, away from the checkout.
# Usage: test_wheel.sh PYTHON        PYTHON has `build` and `onnx`, to make the wheel and the model
set -euo pipefail
cd "$(dirname "$0")/.."
repository=$PWD
python=$PWD/$1
work=$repository/build/wheel
rm -rf "$work"
mkdir -p "$work"

"$python" -m build --wheel --outdir "$work/dist" . >"$work/build.log" || { cat "$work/build.log"; exit 1; }
"$python" tests/make_small_model.py "$work"

check() { # version interpreter
    local venv=$work/venv-$1
    "$2" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --constraint constraints.txt "$work"/dist/*.whl
    (
        cd "$(mktemp -d)" # nothing of the checkout can be imported from here
        "$venv/bin/stepcell" --help >/dev/null
        "$venv/bin/stepcell" compile "$work/small.onnx" -o out --calibration "$work/small.npz"
        for file in small.h small.c small_weights.c manifest.json; do
            [ -s "out/$file" ] || { echo "wheel: stepcell compile wrote no $file" >&2; exit 1; }
        done
        if "$venv/bin/python" -c 'import torch' 2>/dev/null; then
            echo "wheel: torch came in with the base dependencies" >&2
            exit 1
        fi
        rm -rf "$PWD"
    )
    echo "wheel: Python $1 installs it without torch and compiles a model"
}

pythons=$(scripts/find_pythons.sh)
{ head -n 1 <<<"$pythons"; tail -n +2 <<<"$pythons" | tail -n 1; } | while read -r version interpreter; do
    check "$version" "$interpreter"
done
