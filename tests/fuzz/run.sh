#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: tests/fuzz/run.sh SECONDS [HARNESS...]
# Builds the harnesses with clang, libFuzzer, ASan and UBSan, and runs one after the other for so
# many seconds each, from the corpus in tests/fuzz/corpus. What is new goes to a scratch directory
# (FUZZ_DIR, default build/fuzz), and so do crashes; add what is worth keeping to the corpus by
# hand, small and with a name that says what it is. Exit code 1 if a harness failed.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:?usage: tests/fuzz/run.sh SECONDS [HARNESS...]}
shift
[ $# -gt 0 ] || set -- head chunked path settings
dir=${FUZZ_DIR:-build/fuzz}
cc=${CLANG:-clang}
flags="-std=gnu11 -g -O1 -D_GNU_SOURCE -I. -fno-omit-frame-pointer"
flags="$flags -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined"
failed=0

for name in "$@"; do
	source=tests/fuzz/fuzz_$name.c
	[ -f "$source" ] || { echo "run.sh: no $source, skipped" >&2; continue; }
	case $name in
	settings) rooms="conf base"; libs="$(pkg-config --libs yaml-0.1 jansson)" ;;
	*) rooms="http base"; libs= ;;
	esac
	files=
	for room in $rooms; do
		files="$files $(ls "$room"/*.c)"
	done
	mkdir -p "$dir/$name"
	# shellcheck disable=SC2086 # lists of words
	$cc $flags "$source" $files $libs -o "$dir/fuzz_$name"
	echo "== $name: $seconds s"
	"$dir/fuzz_$name" -max_total_time="$seconds" -max_len=1500 -print_final_stats=1 \
		-artifact_prefix="$dir/$name-" "$dir/$name" "tests/fuzz/corpus/$name" \
		>"$dir/$name.log" 2>&1 || { failed=1; tail -40 "$dir/$name.log"; }
	grep -E '^(stat::number_of_executed_units|Done)|cov:' "$dir/$name.log" | tail -3
done
exit "$failed"
