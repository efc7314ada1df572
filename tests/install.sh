#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs from the build directory given into a directory of its own, and looks at what is there:
# the program says its version, pkg-config finds it and what modules include, the manual pages render
# without a warning.
set -eu
build=$1
dest=$(mktemp -d)
trap 'rm -rf "$dest"' EXIT
lock=$(dirname "$build")/.lock # a build beside us would change what is being installed
if [ -e "$lock" ]; then
	exec 9>"$lock"
	flock 9
fi
make -s --no-print-directory -C "$build" install DESTDIR="$dest" >/dev/null

program=$(find "$dest" -path '*/bin/capricorn' -type f -perm -u=x)
[ -n "$program" ] || { echo "no program was installed"; exit 1; }
version=$("$program" --version)
version=${version#capricorn }
pc=$(find "$dest" -name capricorn.pc)
said=$(PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --modversion capricorn)
[ "$said" = "$version" ] || { echo "capricorn.pc says $said, the program $version"; exit 1; }

# A module needs nothing but the header that pkg-config leads to.
# shellcheck disable=SC2046 # a list of flags
printf '#include <capricorn.h>\nconst struct capri_app capricorn_app = {CAPRI_APP_INIT, .name = "x"};\n' |
	${CC:-cc} -std=c11 -pedantic -Wall -Werror -fPIC -shared -x c -o "$dest/module.so" - \
		$(PKG_CONFIG_PATH=$(dirname "$pc") PKG_CONFIG_SYSROOT_DIR=$dest \
			pkg-config --cflags --libs capricorn) || { echo "no module can be built"; exit 1; }
rm "$dest/module.so"

for page in man8/capricorn.8 man5/capricorn.yaml.5; do
	file=$(find "$dest" -path "*/$page")
	[ -n "$file" ] || { echo "$page was not installed"; exit 1; }
	if command -v groff >/dev/null; then
		warnings=$(groff -man -ww -z -Tutf8 "$file" 2>&1)
		[ -z "$warnings" ] || { echo "$page: $warnings"; exit 1; }
	fi
done

# Position-independent, and read-only after relocation.
if command -v readelf >/dev/null; then
	readelf -hW "$program" | grep -q 'Type:.*DYN' || { echo "not PIE"; exit 1; }
	readelf -lW "$program" | grep -q GNU_RELRO || { echo "no RELRO"; exit 1; }
	readelf -dW "$program" | grep -q 'FLAGS.*NOW' || { echo "lazy binding"; exit 1; }
fi
make -s --no-print-directory -C "$build" uninstall DESTDIR="$dest" >/dev/null
left=$(find "$dest" -type f)
[ -z "$left" ] || { echo "uninstall leaves $left"; exit 1; }
