#!/bin/sh
# Says in one line what is missing before anything is built: Python 3.11 or later with venv and its headers, and a C
# compiler.
set -eu

python=${1:-python3}

if ! command -v "$python" >/dev/null 2>&1; then
    echo "sipfast needs Python 3.11 or later; there is no '$python' (set PYTHON=/path/to/python3)" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "sipfast needs Python 3.11 or later; $python is $("$python" -V) (set PYTHON=/path/to/python3)" >&2
    exit 1
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    echo "$python has no venv; on Debian: apt-get install python3-venv" >&2
    exit 1
fi
if ! command -v "${CC:-cc}" >/dev/null 2>&1 && ! command -v gcc >/dev/null 2>&1; then
    echo "sipfast needs a C compiler; on Debian: apt-get install gcc python3-dev" >&2
    exit 1
fi
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
if ! [ -e "$headers/Python.h" ]; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "$python has no headers ($headers/Python.h); on Debian: apt-get install python$version-dev, on Fedora: dnf install python3-devel" >&2
    exit 1
fi
