#!/bin/sh
# make-venv.sh PYTHON [test]: makes .venv with that Python where there is none that works, and installs hwdiag into it
# with torch, and with "test" the test tools and what they try, at the versions of constraints.txt. Ends with the file
# .venv/ready, and .venv/ready-to-test.
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

# Sizes and times are those of docs/measured.md.
case ${2:-} in
test) extras=test,torch,nets,torchao,dataloader what='hwdiag, torch and the test tools' size='2.2 GB' ;;
*) extras=torch,torchao,dataloader what='hwdiag and torch' size='1.7 GB' ;;
esac
echo "Installing $what into .venv: $size on the disk, some minutes the first time"
# setuptools first and no build isolation, so that the build too uses the pinned version.
"$me" -m pip install --no-compile -c constraints.txt setuptools
"$me" -m pip install --no-compile -c constraints.txt --no-build-isolation -e ".[$extras]"
# pip compiles one file after another, which takes half of its time. What is rarely imported waits for its first import.
"$me" -m compileall -q -j 0 -x '/(tests|testing|transformers|sympy|networkx|ansible)/' .venv/lib || true
echo "Installed: $(du -sh .venv | cut -f 1) in .venv"
touch .venv/ready
if [ "${2:-}" = test ]; then touch .venv/ready-to-test; fi
