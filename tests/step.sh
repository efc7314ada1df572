#!/bin/sh
# SPDX-License-Identifier: MIT
# step.sh BUILD COMPILER FLAG: builds the proofs by single steps with this compiler, below BUILD, and
# runs them stopped at every instruction (STEP_ALL). 77: there is no such compiler here.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
dir=$1/step-$2$3
command -v "$2" >/dev/null || { echo "no $2 here"; exit 77; }
mkdir -p "$dir"
cd "$dir"
for f in "$top"/base/*.c "$top"/shm/*.c "$top"/tests/unit/test_shm_step*.c; do
	"$2" "$3" -g -std=gnu11 -pthread -D_GNU_SOURCE -I"$top" -c "$f"
done
for f in "$top"/tests/unit/test_shm_step*.c; do
	name=$(basename "$f" .c)
	objects=$(for o in *.o; do case $o in test_*) ;; *) echo "$o" ;; esac; done)
	# shellcheck disable=SC2086 # a list of names
	"$2" -pthread -o "$name" "$name.o" $objects -lcmocka
	echo "$name, $2 $3"
	STEP_ALL=1 "./$name"
done
