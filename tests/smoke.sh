#!/bin/sh
# SPDX-License-Identifier: MIT
# The smoke tests against the program in the build directory, for make check. Skipped (77) without
# pytest; all black-box tests: ./dev test.
top=$(cd "$(dirname "$0")/.." && pwd)
/usr/bin/python3 -c 'import pytest' 2>/dev/null || exit 77
CAPRICORN_BINARY=${CAPRICORN_BINARY:-$PWD/capricorn}
PYTHONDONTWRITEBYTECODE=1
export CAPRICORN_BINARY PYTHONDONTWRITEBYTECODE
exec /usr/bin/python3 -m pytest -c "$top/tests/blackbox/pytest.ini" -p no:cacheprovider -q \
	--rootdir "$top/tests/blackbox" -m smoke "$top/tests/blackbox/test_smoke.py" </dev/null
