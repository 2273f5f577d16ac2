#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sets up, builds and runs the tests, and half a minute of each fuzz target. Safe to run again. PRESET picks other builds,
# one or more of release, fuzz, debug, asan, tsan, slow, soak. What is given in the command line goes to ctest.
set -euo pipefail
cd "$(dirname "$0")/.."

deploy/setup.sh
deploy/debian-guest.sh build/guest
for preset in ${PRESET:-fuzz release}; do
  build=$preset
  case $preset in slow | soak) build=release ;; esac
  cmake --preset "$build"
  cmake --build --preset "$build"
  ctest --preset "$preset" "$@"
done
