#!/usr/bin/env bash
# Create a virtual environment and install stepcell[all] into it, in the versions that are known to work.
# Usage: setup_venv.sh FOLDER        PYTHON=/path/to/python3 chooses the interpreter
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1

python=${PYTHON:-$(scripts/find_pythons.sh | head -n 1 | cut -d' ' -f2)}
if [ -z "$python" ]; then
    echo "setup: no Python 3.11 or newer found. Hint: apt-get install python3 python3-venv" >&2
    exit 2
fi

# Debian ships Python without the part that puts pip into a new environment; its own pip can fill one as well.
if "$python" -c 'import ensurepip' 2>/dev/null; then
    [ -x "$venv/bin/pip" ] || "$python" -m venv "$venv"
    pip=("$venv/bin/python" -m pip)
elif "$python" -m pip --version >/dev/null 2>&1; then
    [ -x "$venv/bin/python" ] || "$python" -m venv --without-pip "$venv"
    "$python" -m pip --python "$venv/bin/python" install --quiet pip
    pip=("$venv/bin/python" -m pip)
else
    echo "setup: $python has neither pip nor venv. Hint: apt-get install python3-venv" >&2
    exit 2
fi

"${pip[@]}" install --constraint constraints.txt --editable '.[all]'
