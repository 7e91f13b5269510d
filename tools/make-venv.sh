#!/bin/sh
# make-venv.sh PYTHON: makes .venv with that Python where there is none that works, and installs hwdiag into it
# with torch and the test tools, at the versions of constraints.txt. Ends with the file .venv/ready.
set -eu
cd "$(dirname "$0")/.."
python=${1:-python3}
me=.venv/bin/python

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

if ! "$me" -m pip --version >/dev/null 2>&1; then
    command -v "$python" >/dev/null || fail "no $python here; install it: sudo apt-get install python3 python3-venv"
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "$python does not run"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "$python is Python $version, and hwdiag needs 3.10 or newer; install one, sudo apt-get install python3 python3-venv, and name it: make PYTHON3=/usr/bin/python3"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python cannot make virtual environments; install what it lacks: sudo apt-get install python$version-venv"
    echo "Making .venv with Python $version"
    "$python" -m venv --clear .venv
fi

echo 'Installing hwdiag, torch and the test tools into .venv (some minutes the first time)'
# setuptools first and no build isolation, so that the build too uses the pinned version.
"$me" -m pip install --quiet -c constraints.txt setuptools
"$me" -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[test,torch,nets,torchao,dataloader]'
touch .venv/ready
