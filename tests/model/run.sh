#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the models with spin: clean they have no error; with one of the looks left out they must have
# one. `--all` also runs the larger sizes (some minutes). 77: there is no spin here.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
command -v spin >/dev/null || { echo "no spin here"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
bad=0

# model FILE NAME WANT OPTIONS: WANT is "clean" or "error".
model() {
	file=$1
	name=$2
	want=$3
	shift 3
	spin "$@" -a "$here/$file.pml" >spin.log || { cat spin.log; exit 1; }
	${CC:-cc} -O2 -w -DSAFETY -DCOLLAPSE -DVECTORSZ=2048 -o pan pan.c
	./pan -m200000 >pan.log || :
	errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' pan.log)
	states=$(sed -n 's/ *\([0-9.e+]*\) states, stored.*/\1/p' pan.log | head -n 1)
	got=clean
	[ "$errors" = 0 ] || got=error
	grep -q "max search depth too small" pan.log && got="not finished"
	echo "$name: $got, $states states"
	[ "$got" = "$want" ] || { echo "$name: should be $want"; cat pan.log; bad=1; }
}

model semaphore "2 workers, 1 permit, 2 rounds, 1 kill" clean
for look in A B C E; do
	model semaphore "without look ($look)" error -DNO_$look -DWORKERS=2 -DROUNDS=2 -DKILLS=2
done
model cache "segment, 2 processes, 2 turns, 1 kill" clean
for look in PIN_LOOK ENTRY_LOOK WRITER_LOOK; do
	model cache "segment, without $look" error -DNO_$look -DTURNS=3
done
model cache "lease, 3 processes, 1 turn, 1 kill" clean -DLEASE -DPROCS=3 -DTURNS=1
for look in AGAIN WAKE; do
	model cache "lease, without $look" error -DLEASE -DNO_$look -DPROCS=3
done
if [ "${1-}" = --all ]; then
	model semaphore "2 workers, 1 permit, 2 rounds, 2 kills" clean -DKILLS=2
	model semaphore "2 workers, 2 permits, 2 rounds, 1 kill" clean -DPERMITS=2
	model semaphore "3 workers, 1 permit, 1 round, 1 kill" clean -DWORKERS=3 -DROUNDS=1
	model cache "segment, 2 processes, 3 turns, 2 kills" clean -DTURNS=3 -DKILLS=2
	model cache "segment, 3 processes, 2 turns, 1 kill" clean -DPROCS=3
fi
exit $bad
