#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What it costs a guest to be watched: hypercalls a second of one that does nothing but call at linked sites, alone, and
# with a trace client, `sites top` and a Prometheus scraper attached, in turn; the medians and their ratio for each
# engine. Usage: watched.sh [ROUNDS]; ENGINES is which (soft direct), BUILD the build directory (build/release).
set -euo pipefail
cd "$(dirname "$0")/../.."
port=${METRICS_PORT:-19464}
DAEMON_OPTIONS="--metrics-listen $port"
source tests/bench/daemon.sh
rounds=${1:-5}

# Calls a second by the clock on the wall, the start and end of the VM included; "watched" as the second argument has all three look on.
measure() {
  local watchers=() calls=200000000 start
  [ "$1" = soft ] || calls=1200000000
  trapline vm create bench --kernel "$build/guests/hypercall_bench.elf" --memory 64M --engine "$1" \
    --append "technique=linked runs=1 calls=$calls" >/dev/null
  if [ "$2" = watched ]; then
    trapline trace bench --output "$scratch/trace" >/dev/null 2>"$scratch/summary" &
    watchers+=($!)
    trapline sites top bench -o json >"$scratch/top" 2>/dev/null &
    watchers+=($!)
    (while curl -sf "127.0.0.1:$port/metrics" -o "$scratch/scrape"; do sleep 1; done) &
    watchers+=($!)
    until grep -q tracing "$scratch/summary"; do sleep 0.02; done
  fi
  start=$(date +%s%N)
  trapline vm start bench >/dev/null
  trapline vm wait bench >/dev/null
  echo $((calls * 1000 / (($(date +%s%N) - start) / 1000000)))
  # The trace client ends with its VM.
  for watcher in "${watchers[@]:1}"; do kill "$watcher" 2>/dev/null || true; done
  for watcher in "${watchers[@]}"; do wait "$watcher" 2>/dev/null || true; done
  trapline vm rm bench >/dev/null
}

printf '%-8s %14s %14s %8s   %s\n' ENGINE ALONE/S WATCHED/S RATIO 'THE LAST TRACE CLIENT SAID'
for engine in ${ENGINES:-soft direct}; do
  alone="" watched=""
  for _ in $(seq "$rounds"); do
    alone+=" $(measure "$engine" alone)"
    watched+=" $(measure "$engine" watched)"
  done
  a=$(median <<<"$alone") w=$(median <<<"$watched")
  printf '%-8s %14s %14s %8s   %s\n' "$engine" "$a" "$w" "$(awk -v a="$w" -v b="$a" 'BEGIN { printf "%.3f", a / b }')" \
    "$(tail -1 "$scratch/summary" | sed 's/^trapline: //')"
done
