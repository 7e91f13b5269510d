#!/bin/sh
# Make the committed explanation again: look at the example of the explain notebook, and store the replayed outputs in
# the notebook. Usage: tools/example-explain.sh [--measure]; without --measure the recorded explanation is shown again.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
if [ "${1:-}" = --measure ]; then
    rm -rf outputs/example/explain
    $python -m hwdiag explain --out outputs/example/explain -- .venv/bin/python hwdiag/agent/example_training.py
fi
HWDIAG_REPLAY="$PWD/outputs/example/record.json" $python -m nbconvert --to notebook --execute --inplace \
  --ExecutePreprocessor.record_timing=False \
  notebooks/explain.ipynb
