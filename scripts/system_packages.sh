#!/usr/bin/env bash
# Install the Debian packages that the tests use. Without root: name the missing ones and go on; with CI=true
# a missing package is an error.
set -euo pipefail

packages=(
    gcc libc6-dev                                   # a second host compiler, and its sanitizers
    clang libclang-rt-dev                           # a third one, and its sanitizers
    gcc-arm-none-eabi libnewlib-arm-none-eabi       # the vendor-neutral Cortex-M compiler; string.h
    qemu-system-arm                                 # the second emulator
    gcc-riscv64-unknown-elf qemu-system-misc        # the compiler and the emulator of RISC-V
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross     # the compiler of 64-bit Arm under Linux; its stdint.h
    qemu-user                                       # runs Linux programs of other processors
    gcc-avr avr-libc simavr                         # the compiler, the headers and the emulator of AVR
    cppcheck                                        # static analysis of the runtime
    pocketsphinx-testdata                           # recorded speech, to compare imported models on
    python3-venv                                    # fresh environments for the wheel test
)

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null || true)
    [ "$status" = "install ok installed" ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

install=(apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=600 "${missing[@]}")
if ! command -v apt-get >/dev/null; then
    echo "system packages: this is not Debian; the tests also use what these packages hold: ${missing[*]}" >&2
    as_root=()
elif [ "$(id -u)" = 0 ]; then
    as_root=(env DEBIAN_FRONTEND=noninteractive)
elif sudo -n true 2>/dev/null; then
    as_root=(sudo -n env DEBIAN_FRONTEND=noninteractive)
else
    echo "system packages: some tests will be skipped without: ${missing[*]}. Hint: sudo ${install[*]}" >&2
    as_root=()
fi

if [ ${#as_root[@]} -gt 0 ]; then
    "${as_root[@]}" apt-get update -o DPkg::Lock::Timeout=600
    "${as_root[@]}" "${install[@]}"
elif [ "${CI:-}" = true ]; then
    echo "system packages: with CI=true nothing may be missing" >&2
    exit 1
fi
