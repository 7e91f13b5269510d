#!/bin/sh
# Writes constraints.txt anew: the newest versions that fit pyproject.toml, for every Python from 3.10 on.
# Needs uv on the PATH (pip install uv), or named by the variable UV.
set -eu
cd "$(dirname "$0")/.."

# torch is pinned by hand and not resolved, as its wheels on PyPI drag in a tree of CUDA packages that a CPU build
# does without. What a CPU build of it needs is resolved here, with what pip needs to build hwdiag.
torch=2.13.0
also='filelock fsspec jinja2 networkx setuptools sympy typing-extensions'

uv=${UV:-uv}
command -v "$uv" >/dev/null || {
    echo 'error: no uv here, which resolves the versions; install it: pip install uv' >&2
    exit 1
}
new=$(mktemp)
trap 'rm -f "$new"' EXIT
cat >"$new" <<HEADER
# Exact versions of everything that hwdiag installs; Make and CI use them: pip install -c constraints.txt -e '.[test,torch,nets,torchao,dataloader]'
# Written by "make constraints", which runs tools/constraints.sh: change pyproject.toml or that script, not this file.
torch==$torch
HEADER
# shellcheck disable=SC2086  # one word each
printf '%s\n' $also |
    "$uv" pip compile pyproject.toml - --extra test --extra nets --extra torchao --extra dataloader --universal --python-version 3.10 \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet >>"$new"
# Linux is understood: pyproject.toml asks uv for nothing else.
sed -e "s/ ; sys_platform == 'linux'\$//" -e "s/ and sys_platform == 'linux'\$//" "$new" >constraints.txt
