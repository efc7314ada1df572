#!/bin/sh
# SPDX-License-Identifier: MIT
# make distcheck in a build directory of its own, below the one given.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1/dist"
cd "$1/dist"
[ -e Makefile ] || "$top/configure" -q
make -s --no-print-directory -j"$(nproc)" distcheck
