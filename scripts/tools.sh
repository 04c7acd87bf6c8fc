#!/bin/sh
# Names what a build lacks, with the fix, before anything fails half-way. Usage: tools.sh PYTHON
python=$1
missing=0

lack() {
    printf 'missing: %s\n    fix: %s\n' "$1" "$2" >&2
    missing=1
}

if ! command -v "$python" >/dev/null 2>&1; then
    lack "Python 3.11 or newer (no '$python' on the PATH)" "apt-get install python3 python3-venv, or make PYTHON=/path/to/python3.11"
elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    lack "Python 3.11 or newer ('$python' is $("$python" -V 2>&1))" "make PYTHON=/path/to/a/newer/python"
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    lack "Python's venv module" "apt-get install python3-venv"
fi
if ! command -v cc >/dev/null 2>&1; then
    lack "a C compiler (SQLite and ring are compiled)" "apt-get install gcc"
fi
if ! command -v cargo >/dev/null 2>&1; then
    lack "Rust 1.88 or newer (no 'cargo' on the PATH)" "install Rust with rustup, then open a new shell"
else
    version=$(rustc --version 2>/dev/null | cut -d ' ' -f 2)
    minor=$(printf '%s' "$version" | cut -d . -f 2)
    if [ "$(printf '%s' "$version" | cut -d . -f 1)" = 1 ] && [ "${minor:-0}" -lt 88 ]; then
        lack "Rust 1.88 or newer (rustc is $version)" "rustup update stable"
    fi
fi
exit $missing
