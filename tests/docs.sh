#!/bin/sh
# SPDX-License-Identifier: MIT
# Documents that the program writes from its tables: docs.sh [PROGRAM] checks that those in the tree
# are what it writes today, docs.sh --write [PROGRAM] writes them.
set -eu
write=no
[ "${1-}" != --write ] || { write=yes; shift; }
program=$(realpath "${1:-./capricorn}")
cd "$(dirname "$0")/.."
new=$(mktemp)
trap 'rm -f "$new"' EXIT
bad=0
while read -r name file; do
	"$program" --print-doc "$name" >"$new"
	if [ "$write" = yes ]; then
		cmp -s "$new" "$file" || { cat "$new" >"$file"; echo "wrote $file"; }
	elif ! diff -u "$file" "$new"; then
		echo "$file is stale: run ./dev docs"
		bad=1
	fi
done <<EOT
settings-md docs/SETTINGS.md
signals-md docs/SIGNALS.md
metrics-md docs/METRICS.md
man8 docs/man/capricorn.8
man5 docs/man/capricorn.yaml.5
sample etc/capricorn.yaml
EOT
exit $bad
