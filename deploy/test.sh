#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sets up, builds and runs the tests. Safe to run again. PRESET picks another build (debug, asan, tsan).
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${PRESET:-release}

deploy/setup.sh
deploy/debian-guest.sh build/guest
cmake --preset "$preset"
cmake --build --preset "$preset"
ctest --preset "$preset" "$@"
