#!/bin/sh
# SPDX-License-Identifier: MIT
# Checks that every room includes only rooms below it (tests/layers.txt), always from the top, and
# that each source file bears its licence and each header its guard.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
bad=0

complain() {
	echo "$*"
	bad=1
}

rooms=$(sed 's/#.*//; s/[[:space:]].*//; /^$/d' tests/layers.txt)
for room in $rooms; do
	[ -d "$room" ] || continue
	allowed=" base $room $(sed -n "s/^${room}[[:space:]]\\{1,\\}//p" tests/layers.txt) "
	for file in "$room"/*.[ch] "$room"/*.def; do
		[ -e "$file" ] || continue
		# shellcheck disable=SC2013 # names without blanks
		for inc in $(sed -n 's/^#[[:space:]]*include[[:space:]]*"\([^"]*\)".*/\1/p' "$file"); do
			case $inc in
			../* | ./* | /*) complain "$file: \"$inc\" is not named from the top" ;;
			*_priv.h)
				[ "${inc%%/*}" = "$room" ] ||
					complain "$file: $inc is private to ${inc%%/*}/" ;;
			esac
			case $allowed in
			*" ${inc%%/*} "*) ;;
			*) complain "$file: $room/ may not include $inc" ;;
			esac
			[ -e "$inc" ] || complain "$file: there is no $inc"
		done
	done
	for word in Purpose "Which process" "Data and owner" Rules "Not here" Tests; do
		grep -q "^#* *$word" "$room/README.md" 2>/dev/null ||
			complain "$room/README.md: no heading \"$word\""
	done
done

# http/ is pure: bytes in, bytes out.
if grep -nE '#include <(sys/socket|sys/epoll|unistd|fcntl|sys/mman)\.h>|clock_gettime' http/*.[ch]; then
	complain "http/ knows descriptors or clocks"
fi

for file in ./*.c ./*/*.[ch] tests/*/*.[ch]; do
	[ -e "$file" ] || continue
	case $file in ./build/*) continue ;; esac
	[ "$(head -n 1 "$file")" = "/* SPDX-License-Identifier: MIT */" ] ||
		complain "$file: the first line is not the licence"
	case $file in
	*.h)
		path=${file#./}
		guard=$(echo "${path#include/}" | tr 'a-z/.-' 'A-Z___')
		grep -q "^#ifndef $guard\$" "$file" || complain "$file: no guard $guard" ;;
	esac
	# A text that is searched for is not torn: only what does not end in a string is measured.
	expand "$file" | awk -v f="$file" 'length($0) > 100 && !/"[]})]*[,;]?$/ {
		print f ":" NR ": longer than 100"; n++ } END { exit n > 0 }' || bad=1
done
exit $bad
