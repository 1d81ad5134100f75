#!/usr/bin/env bash
# Check the C files: format with clang-format (its path is the argument), then cppcheck.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/c_files.sh | xargs -r "$1" --dry-run -Werror

if command -v cppcheck >/dev/null; then
    # unusedFunction and missingInclude cannot be judged: a model calls only the kernels it needs.
    scripts/c_files.sh | grep '^runtime_c/.*\.c$' | xargs -r cppcheck --quiet --error-exitcode=1 --inline-suppr \
        --std=c99 --enable=warning,performance,portability -I runtime_c/include -I runtime_c/src
elif [ "${CI:-}" = true ]; then
    echo "check_c: cppcheck is missing, and with CI=true nothing may be" >&2
    exit 1
else
    echo "check_c: cppcheck is missing, its checks are left out. Hint: apt-get install cppcheck" >&2
fi
