#!/bin/sh
# Make the committed example again: measure this machine at standard budget (or take the run in FOLDER), and store the
# replayed outputs in the notebooks. Usage: tools/example.sh [FOLDER]
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
if [ $# -eq 0 ]; then
  folder=$(dirname "$($python -m hwdiag run --json | $python -c 'import json, sys; print(json.load(sys.stdin)["record"])')")
else
  folder=$1
fi
if [ "$folder" != outputs/example ]; then
  mkdir -p outputs/example
  rm -rf outputs/example/figures outputs/example/scripts
  cp -r "$folder/record.json" "$folder/figures" "$folder/scripts" outputs/example/
fi
$python tools/example-again.py
$python -m hwdiag report outputs/example >/dev/null
HWDIAG_REPLAY="$PWD/outputs/example/record.json" $python -m nbconvert --to notebook --execute --inplace \
  --ExecutePreprocessor.record_timing=False notebooks/diagnose.ipynb
