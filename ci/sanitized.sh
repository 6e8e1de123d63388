#!/bin/sh
# Runs a command of the project's Python on modules compiled with AddressSanitizer and UndefinedBehaviorSanitizer, from a copy
# of the sources in build/sanitized: make fuzz SANITIZE=1. usage: ci/sanitized.sh PYTHON ARGUMENTS...
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
copy="$here/build/sanitized"
mkdir -p "$copy"
# What has changed since the last time, and nothing that was compiled without the sanitizers.
tar -C "$here" -cf - --exclude='*.so' --exclude='__pycache__' sipfast tests setup.py pyproject.toml README.md |
    tar -C "$copy" -xf - --keep-newer-files 2>/dev/null || true
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
shift
export SIPFAST_CFLAGS="-O1 -g -fno-omit-frame-pointer -fno-strict-aliasing -fsanitize=address,undefined -fno-sanitize-recover=undefined"
(cd "$copy" && LDFLAGS="-fsanitize=address,undefined" "$python" setup.py --quiet build_ext --inplace --parallel "${JOBS:-$(nproc)}")
cd "$copy"
libraries="$(cc -print-file-name=libasan.so) $(cc -print-file-name=libubsan.so)"
# Python itself keeps memory until it ends, and has an allocator of its own, which would hide what is read too late.
exec env PYTHONPATH="$copy/tests:$copy" PYTHONMALLOC=malloc PYTHONHASHSEED=0 LD_PRELOAD="$libraries" \
    ASAN_OPTIONS="detect_leaks=0:abort_on_error=0" UBSAN_OPTIONS="print_stacktrace=1" "$python" "$@"
