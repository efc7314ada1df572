#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: tests/fuzz/run.sh SECONDS [NAME...]
# Fuzzes with every harness, or those named, one after the other, so many seconds each. What is new
# goes to build/fuzz/found/NAME; what is worth keeping goes into tests/fuzz/corpus/NAME by hand,
# small and with a name that says what it is. Exit code 1 if a harness failed.
set -u
cd "$(dirname "$0")/../.." || exit 1
seconds=${1:?usage: tests/fuzz/run.sh SECONDS [NAME...]}
shift
if [ $# -eq 0 ]; then
	for source in tests/fuzz/fuzz_*.c; do
		name=${source#tests/fuzz/fuzz_}
		set -- "$@" "${name%.c}"
	done
fi
failed=0
for name in "$@"; do
	echo "== $name: $seconds s"
	./dev fuzz "$name" "$seconds" || { echo "== $name: failed"; failed=1; }
done
exit "$failed"
