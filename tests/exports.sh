#!/bin/sh
# SPDX-License-Identifier: MIT
# Checks that a program (./capricorn, or the argument) shows modules each function that
# include/capricorn.h declares, and nothing else.
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
program=${1:-./capricorn}
command -v nm >/dev/null || { echo "nm is not installed"; exit 77; }
bad=0

declared=$(${CC:-cc} -E -P "$top/include/capricorn.h" | tr '\n' ' ' | tr ';' '\n' |
	sed -n 's/.*visibility("default"))) *//p' |
	sed -n 's/[^(]*[^a-z0-9_(]\(capri_[a-z0-9_]*\)(.*/\1/p' | sort -u)
# Names with a version are copies of a library's, the others in the list are the linker's own.
shown=$(nm -D --defined-only "$program" | awk '{ print $NF }' | grep -v '@' |
	grep -vxE '_IO_stdin_used|__bss_start|_edata|_end|_init|_fini|_start|(__)?data_start' | sort -u)

[ "$(echo "$declared" | wc -l)" -gt 50 ] || { echo "include/capricorn.h cannot be read"; exit 1; }
for name in $declared; do
	echo "$shown" | grep -qx "$name" || { echo "$name is declared, but not shown"; bad=1; }
done
for name in $shown; do
	echo "$declared" | grep -qx "$name" || { echo "$name is shown, but not declared"; bad=1; }
done
exit $bad
