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
	# shellcheck disable=SC2013,SC2046 # names without blanks
	for pair in $(awk -F'"' '/^#[[:space:]]*include[[:space:]]*"/ { print FILENAME ":" $2 }' \
		/dev/null $(ls "$room"/*.[ch] "$room"/*.def 2>/dev/null)); do
		file=${pair%%:*}
		inc=${pair#*:}
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
	for word in Purpose "Which process" "Data and owner" Rules "Not here" Tests; do
		grep -q "^#* *$word" "$room/README.md" 2>/dev/null ||
			complain "$room/README.md: no heading \"$word\""
	done
done

# http/ is pure: bytes in, bytes out.
if grep -nE '#include <(sys/socket|sys/epoll|unistd|fcntl|sys/mman)\.h>|clock_gettime' http/*.[ch]; then
	complain "http/ knows descriptors or clocks"
fi

# A text that is searched for is not torn: only what does not end in a string is measured. (One
# program for all files: a process for each costs more than all that they look at.)
# shellcheck disable=SC2046,SC2012 # names without blanks
awk '
function fail(what) { print what; bad = 1 }
function width(s,   i, n) {
	while ((i = index(s, "\t"))) {
		n = i - 1
		s = substr(s, 1, n) substr("        ", 1, 8 - n % 8) substr(s, i + 1)
	}
	return length(s)
}
function end_file() { if (guard != "" && !guarded) fail(file ": no guard " guard) }
FNR == 1 {
	end_file()
	file = FILENAME
	guard = ""
	guarded = 0
	if ($0 != "/* SPDX-License-Identifier: MIT */")
		fail(file ": the first line is not the licence")
	if (file ~ /\.h$/) {
		guard = file
		sub(/^include\//, "", guard)
		gsub(/[\/.-]/, "_", guard)
		guard = toupper(guard)
	}
}
guard != "" && $0 == "#ifndef " guard { guarded = 1 }
length($0) > 40 && width($0) > 100 && !/"[]})]*[,;]?$/ { fail(file ":" FNR ": longer than 100") }
END { end_file(); exit bad }
' $(ls ./*.c ./*/*.[ch] tests/*/*.[ch] | sed 's,^\./,,' | grep -v '^build/' | sort -u) || bad=1
exit $bad
