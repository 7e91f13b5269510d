#!/bin/sh
# Store the replayed outputs of outputs/example/estimate in the estimate notebook, and those of the records in
# outputs/example in the compare notebook. With --measure, count and check anew on this machine first (some twenty
# minutes, on a machine that nobody else keeps busy); with FILE, take the record that the notebook saved there.
# Usage: tools/example-estimate.sh [--measure | FILE]
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
study=${1:-}
if [ "$study" = --measure ]; then
    study=$($python -c 'from hwdiag.estimate.steps import Estimator, load; print(Estimator(load({})).save().split()[-1])')
fi
if [ -n "$study" ]; then
    cp "$study" outputs/example/estimate/record.json
fi
for notebook in estimate compare; do
    HWDIAG_REPLAY="$PWD/outputs/example/record.json" $python -m nbconvert --to notebook --execute --inplace \
        "notebooks/$notebook.ipynb"
done
