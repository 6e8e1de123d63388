#!/bin/sh
# All tests, in two processes side by side: those with real peers mostly wait, and the others do not. The first has the one that
# compiles all anew as well. Takes the interpreter.
# What the first one prints comes at the end. Exit status: 0 where both passed.
set -u

python=$1
told=$(mktemp)
trap 'rm -f "$told"' EXIT
"$python" -m pytest tests/peers tests/test_package.py > "$told" 2>&1 &
peers=$!
trap 'kill "$peers" 2>/dev/null; exit 130' INT TERM
"$python" -m pytest --ignore tests/peers --ignore tests/test_package.py
others=$?
wait "$peers"
with_peers=$?
cat "$told"
[ "$others" -eq 0 ] && [ "$with_peers" -eq 0 ]
