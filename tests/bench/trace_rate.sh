#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# How many traced hypercalls a second reach a client: guests that make RATE calls a second for some seconds, and what the
# client saw and missed of them, with the processor time that client and daemon took for each record. Usage:
# trace_rate.sh [RATE...]; ENGINE is the engine (soft), BUILD the build directory (build/release). The client writes a file.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/bench/daemon.sh
[ $# -gt 0 ] || set -- 100000 300000 1000000 2000000

ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

printf '%10s %12s %10s %16s %16s\n' RATE SHOWN DROPPED 'CLIENT ns/RECORD' 'DAEMON ns/RECORD'
for rate in "$@"; do
  trapline vm create bench --kernel "$build/guests/many_sites.elf" --memory 64M --engine "${ENGINE:-soft}" \
    --append "sites=100 rounds=40 busy=10 seconds=5 rate=$rate" >/dev/null
  : >"$scratch/summary"
  TIMEFORMAT='cpu %U %S'
  { time trapline trace bench --output "$scratch/trace" >/dev/null 2>"$scratch/summary"; } 2>"$scratch/time" &
  client=$!
  until grep -q tracing "$scratch/summary"; do sleep 0.02; done
  before=$(ticks "$daemon")
  trapline vm start bench >/dev/null
  trapline vm wait bench >/dev/null
  wait "$client"
  used=$(($(ticks "$daemon") - before))
  trapline vm rm bench >/dev/null
  # "FILE: 1,234 hypercalls, 80K, 0 dropped"
  read -r shown dropped < <(tail -1 "$scratch/summary" | tr -d , |
    awk '{ for (i = 2; i <= NF; i++) { if ($i == "hypercalls") s = $(i - 1); if ($i == "dropped") d = $(i - 1) } print s + 0, d + 0 }')
  awk -v rate="$rate" -v shown="$shown" -v dropped="$dropped" -v used="$used" -v hz="$(getconf CLK_TCK)" '
    /^cpu/ { client = $2 + $3 }
    END { printf "%10d %12d %10d %16.0f %16.0f\n", rate, shown, dropped, client / shown * 1e9, used / hz / shown * 1e9 }' "$scratch/time"
done
