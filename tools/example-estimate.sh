#!/bin/sh
# Store the replayed outputs of outputs/example/estimate.json in the estimate notebook, and those of the records in
# outputs/example in the compare notebook. With FILE, take that study as the example first: one that the estimate
# notebook saved. Usage: tools/example-estimate.sh [FILE]
set -eu
cd "$(dirname "$0")/.."
if [ $# -gt 0 ]; then
    cp "$1" outputs/example/estimate.json
fi
for notebook in estimate compare; do
    HWDIAG_REPLAY="$PWD/outputs/example/record.json" .venv/bin/python -m nbconvert --to notebook --execute --inplace \
        "notebooks/$notebook.ipynb"
done
