#!/usr/bin/env bash
# VNN-COMP: run_instance.sh v1 CATEGORY ONNX VNNLIB RESULTS_FILE TIMEOUT
# Writes the verdict (sat, unsat, unknown, timeout) and a counterexample to RESULTS_FILE, whole or
# not at all, and always exits 0: the harness discards the result of a script that fails.
set -u

if [ "$#" -ne 6 ] || [ "$1" != v1 ]; then
    echo "usage: run_instance.sh v1 CATEGORY ONNX VNNLIB RESULTS_FILE TIMEOUT" >&2
    exit 2
fi
category=$2 onnx=$3 vnnlib=$4 results=$5 timeout=$6

# Before anything could change the directory: the harness gives relative paths.
case $results in /*) ;; *) results=$PWD/$results ;; esac

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
python=$here/.venv/bin/python
[ -x "$python" ] || python=python3

PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH} "$python" -m vnn_mondeq competition \
    --parent "$$" "$category" "$onnx" "$vnnlib" "$results" "$timeout" < /dev/null > /dev/null &
child=$!
# A harness that ends this script at its limit must not leave the verifier running.
trap 'kill "$child" 2> /dev/null; exit 143' HUP INT TERM
wait "$child"
status=$?

if [ "$status" -ne 0 ]; then
    # Nothing was written: bad input, a crash, or a kill. Say so in the competition's own word.
    echo "run_instance.sh: exit status $status; the result is unknown" >&2
    temporary=$results.$$.tmp
    if echo unknown > "$temporary"; then mv -f -- "$temporary" "$results"; fi
fi
exit 0
