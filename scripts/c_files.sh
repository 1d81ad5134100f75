#!/usr/bin/env bash
# Print the hand-written C files of the repository, one a line; headers of assembler macros are not C.
set -euo pipefail
cd "$(dirname "$0")/.."
for folder in runtime_c targets examples tests; do
    [ ! -d "$folder" ] || find "$folder" -name '*.[ch]' -not -path '*/golden/*' -not -path '*/build/*'
done | sort | xargs grep -L '^ *\.macro\|^ *\.equ'
