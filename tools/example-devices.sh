#!/bin/sh
# Store the replayed outputs of outputs/example/devices in the devices notebook. With --measure, measure again on
# this machine first (some eight minutes, five of them for techniques, on a machine that nobody else keeps busy); with
# FILE, take the record that the notebook saved there.
# Usage: tools/example-devices.sh [--measure | FILE]
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
study=${1:-}
if [ "$study" = --measure ]; then
    study=$($python -c 'from hwdiag.devices.steps import Devices, load; print(Devices(load({"minutes": 5})).save())' |
        awk '/record.json$/ { print $1 }')
fi
if [ -n "$study" ]; then
    cp "$study" outputs/example/devices/record.json
fi
HWDIAG_REPLAY="$PWD/outputs/example/record.json" $python -m nbconvert --to notebook --execute --inplace \
    --ExecutePreprocessor.record_timing=False notebooks/devices.ipynb
