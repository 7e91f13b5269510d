#!/bin/sh
# Store the replayed outputs of outputs/example/compat in the compat notebook. With FILE, take that record of
# "hwdiag compat" as the example first: its paths are its own. Usage: tools/example-compat.sh [FILE]
set -eu
cd "$(dirname "$0")/.."
if [ $# -gt 0 ]; then
    cp "$1" outputs/example/compat/record.json
fi
HWDIAG_REPLAY="$PWD/outputs/example/record.json" .venv/bin/python -m nbconvert --to notebook --execute --inplace \
    --ExecutePreprocessor.record_timing=False notebooks/compat.ipynb
