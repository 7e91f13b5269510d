#!/bin/sh
# Make the committed example of an audit again: audit this machine with a choice of settings, and store the replayed
# outputs in the notebook. Usage: tools/example-audit.sh
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
said=$($python -m hwdiag audit --watch 2 --knob vm.swappiness --knob io.scheduler=none --knob net.backlog)
folder=$(dirname "$(echo "$said" | awk '/record.json$/ { print $1 }')")
rm -rf outputs/example/audit
cp -r "$folder" outputs/example/audit
HWDIAG_REPLAY="$PWD/outputs/example/record.json" $python -m nbconvert --to notebook --execute --inplace \
  --ExecutePreprocessor.record_timing=False \
  notebooks/audit.ipynb
