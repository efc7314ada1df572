#!/bin/sh
# SPDX-License-Identifier: MIT
# threads.sh BUILD: builds the tests of shm/ that have threads with the thread sanitizer, below BUILD,
# and runs them. 77: the sanitizer cannot run here.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1/threads"
cd "$1/threads"
# Where addresses are random the sanitizer may not find its place.
run="setarch -R"
$run true 2>/dev/null || run=
flags="-fsanitize=thread -O1 -g -std=gnu11 -pthread -D_GNU_SOURCE -I$top"
echo 'int main(void) { return 0; }' >can.c
# shellcheck disable=SC2086 # lists of words
${CC:-cc} $flags -o can can.c && $run ./can || { echo "no thread sanitizer here"; exit 77; }
for name in test_shm_threads test_shm_sem_threads test_shm_rate test_shm_cache_threads; do
	# shellcheck disable=SC2086
	${CC:-cc} $flags -w -o "$name" "$top/tests/unit/$name.c" "$top"/base/*.c "$top"/shm/*.c \
		-lcmocka
	echo "$name"
	# shellcheck disable=SC2086
	TSAN_OPTIONS=halt_on_error=1 $run "./$name"
done
