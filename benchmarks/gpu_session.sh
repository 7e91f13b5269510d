#!/bin/sh
# All that hwdiag has to show on a real GPU, in under ten minutes, into one archive:
#   benchmarks/gpu_session.sh [--python /path/to/venv/bin/python] [--device cuda:0]
# The interpreter is the one whose torch is measured; hwdiag itself runs in .venv (make setup).
cd "$(dirname "$0")/.." || exit 1
exec .venv/bin/python -m benchmarks.gpu_session "$@"
