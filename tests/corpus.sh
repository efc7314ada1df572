#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs each fuzzer of the build directory over its corpus, for make check.
top=$(cd "$(dirname "$0")/.." && pwd)
bad=0
found=77
for fuzzer in tests/fuzz/fuzz_*; do
	if ! [ -f "$fuzzer" ] || ! [ -x "$fuzzer" ]; then
		continue
	fi
	found=0
	"$fuzzer" "$top/tests/fuzz/corpus/${fuzzer#tests/fuzz/fuzz_}" || bad=1
done
[ "$bad" = 0 ] && exit $found
exit 1
