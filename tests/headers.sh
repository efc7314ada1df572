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

# The one that others compile has to do in strict C and in C++.
interface() {
	printf '#include "capricorn.h"\n#include "capricorn.h"\nint x;\n' |
		"$@" -Iinclude -Wall -Wextra -Wshadow -Wundef -pedantic -Werror -fsyntax-only - || bad=1
}
interface "${CC:-cc}" -std=c11 -Wstrict-prototypes -x c
cxx=${CXX:-c++}
if command -v "$cxx" >/dev/null; then
	for std in c++11 c++20; do
		interface "$cxx" -std=$std -x c++
	done
else
	echo "headers: there is no $cxx: include/capricorn.h is not checked as C++" >&2
fi
exit $bad
