#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A VM with 100,000 hypercall sites: how long lists and watches take, and what memory it all needs. Usage: many_sites.sh
# [CHANGES]; ENGINE chooses the engine (soft), BUILD the build directory (build/release).
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/bench/daemon.sh
trapline vm create sites --kernel "$build/guests/many_sites.elf" --memory 64M --engine "${ENGINE:-soft}" \
  --append "sites=100000 rounds=${ROUNDS:-40} seconds=600 rate=10000" >/dev/null
trapline vm start sites >/dev/null
# A console goes on as long as its VM does.
until [[ $(timeout 0.5 trapline vm console sites </dev/null 2>/dev/null || true) == *called* ]]; do sleep 0.2; done
kilobytes() { awk -v what="$1:" '$1 == what { print $2 }' "/proc/$2/status"; }
worker=$(pgrep -P "$daemon" -x trapline-vmm)
stats=$(du -k "$scratch/run/vms/sites/stats" | cut -f1)
"$build/bin/many_sites" "$TRAPLINE_HOST" sites "${1:-50}"
printf '%-34s %d MiB\n' 'memory: stats file' "$((stats / 1024))"
printf '%-34s %d MiB, of them %d not shared\n' 'memory: worker, resident' "$(($(kilobytes VmRSS "$worker") / 1024))" \
  "$(($(kilobytes RssAnon "$worker") / 1024))"
printf '%-34s %d MiB, of them %d not shared\n' 'memory: daemon, resident' "$(($(kilobytes VmRSS "$daemon") / 1024))" \
  "$(($(kilobytes RssAnon "$daemon") / 1024))"
