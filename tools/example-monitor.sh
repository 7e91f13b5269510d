#!/bin/sh
# Make the committed recording again: watch this machine while a small net is trained on it, and store the replayed
# outputs in the notebook. Usage: tools/example-monitor.sh
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
rm -rf outputs/example/monitor
$python -m hwdiag monitor --hz 5 --out outputs/example/monitor -- .venv/bin/python tools/example-training.py
HWDIAG_REPLAY="$PWD/outputs/example/record.json" $python -m nbconvert --to notebook --execute --inplace \
  --ExecutePreprocessor.record_timing=False \
  notebooks/monitor.ipynb
