#!/usr/bin/env bash
# Whole-process figures of the command line: wall time and peak memory, weights and imports included.
#   tools/time_command.sh photo.png
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for run in 1 2 3; do
    /usr/bin/time -f "encode %e s, %M kB peak" leechcodec encode "$1" -o "$work/$run.lq"
    /usr/bin/time -f "decode %e s, %M kB peak" leechcodec decode "$work/$run.lq" -o "$work/$run.png"
done
