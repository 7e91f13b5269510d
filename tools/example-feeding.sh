#!/bin/sh
# Store the replayed outputs of outputs/example/feeding.json in the input-pipeline notebook. With --measure, measure that
# example anew first, which wants a machine that nobody else keeps busy. Usage: tools/example-feeding.sh [--measure]
set -eu
cd "$(dirname "$0")/.."
if [ "${1:-}" = --measure ]; then
    .venv/bin/python -m hwdiag feed --json >outputs/example/feeding.json
fi
HWDIAG_REPLAY="$PWD/outputs/example/record.json" .venv/bin/python -m nbconvert --to notebook --execute --inplace \
    --ExecutePreprocessor.record_timing=False notebooks/input_pipeline.ipynb
