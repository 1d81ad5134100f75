#!/usr/bin/env bash
# Compare the TensorFlow Lite fixtures with tflite-runtime 2.14, the last of its line. It breaks with numpy 2 and
# has wheels up to Python 3.11, so it gets a virtual environment of its own: build/tflite_runtime.
#   scripts/check_tflite_runtime.sh [python3.11]
set -euo pipefail
cd "$(dirname "$0")/.."

python="${1:-python3.11}"
venv=build/tflite_runtime

if ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] > (3, 11))' 2>/dev/null; then
    echo "check_tflite_runtime: skipped, $python is not Python 3.11 or older" >&2
    exit 0
fi
if [ ! -x "$venv/bin/python" ]; then
    "$python" -m venv "$venv"
    "$venv/bin/pip" install --quiet 'tflite-runtime==2.14.0' 'numpy==1.26.4'
fi
"$venv/bin/python" scripts/compare_tflite_runtime.py tests/fixtures/tflite
