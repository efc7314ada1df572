#!/bin/sh
# SPDX-License-Identifier: MIT
# Checks that each header compiles alone: it includes what it needs.
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
bad=0
for header in base/*.h shm/*.h http/*.h conf/*.h status/*.h serve/*.h app/*.h worker/*.h \
	keeper/*.h master/*.h; do
	[ -e "$header" ] || continue
	printf '#include "%s"\n#include "%s"\n' "$header" "$header" |
		${CC:-cc} -std=gnu11 -D_GNU_SOURCE -I. -Wall -Wextra -Werror -fsyntax-only -x c - ||
		bad=1
done
exit $bad
