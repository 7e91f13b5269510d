#!/bin/sh
# Store the replayed outputs of outputs/example/dataloader in the dataloader notebook. With --measure, measure that
# example anew first, which wants a machine that nobody else keeps busy. Usage: tools/example-dataloader.sh [--measure]
set -eu
cd "$(dirname "$0")/.."
if [ "${1:-}" = --measure ]; then
    folder=$(dirname "$(.venv/bin/python -m hwdiag dataloader | awk '/record.json$/ { print $1 }')")
    rm -rf outputs/example/dataloader
    cp -r "$folder" outputs/example/dataloader
fi
HWDIAG_REPLAY="$PWD/outputs/example/record.json" .venv/bin/python -m nbconvert --to notebook --execute --inplace \
    --ExecutePreprocessor.record_timing=False notebooks/dataloader.ipynb
