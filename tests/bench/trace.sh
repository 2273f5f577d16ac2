#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a trace client costs the guest: cycles per hypercall with `trapline trace` reading and without, in turn, for each
# engine and technique, and whether each call was shown or counted as dropped. Usage: trace.sh [ROUNDS]; ENGINE is one
# engine or several (both), BUILD the build directory.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5}
read -ra engines <<<"${ENGINE:-soft direct}"
source tests/bench/daemon.sh

# As many calls as take about a second.
calls_of() {
  case $1-$2 in
    soft-emulate) echo 500000 ;;
    direct-emulate) echo 100000 ;;
    direct-interrupt) echo 500000 ;;
    direct-linked) echo 200000000 ;;
    *) echo 20000000 ;;
  esac
}

# measure ENGINE TECHNIQUE WATCHED: cycles per 1000 calls; where WATCHED is "traced" a client reads, which waits until it
# listens.
measure() {
  local client=""
  trapline vm create bench --kernel "$build/guests/hypercall_bench.elf" --memory 64M --engine "$1" --technique "$2" \
    --append "technique=$2 runs=1 calls=$(calls_of "$1" "$2") per=1000" >/dev/null
  if [ "$3" = traced ]; then
    : >"$scratch/summary"
    trapline trace bench >"$scratch/trace" 2>"$scratch/summary" &
    client=$!
    until grep -q tracing "$scratch/summary"; do sleep 0.02; done
  fi
  trapline vm start bench >/dev/null
  trapline vm wait bench >/dev/null
  [ -z "$client" ] || wait "$client"
  trapline vm console bench </dev/null 2>/dev/null | grep -o "$2: [0-9]*" | cut -d: -f2
  trapline vm rm bench >/dev/null
}

# row ENGINE TECHNIQUE
row() {
  local alone="" traced=""
  for _ in $(seq "$rounds"); do
    alone+=" $(measure "$1" "$2" alone)"
    traced+=" $(measure "$1" "$2" traced)"
  done
  awk -v engine="$1" -v technique="$2" -v a="$(median <<<"$alone")" -v t="$(median <<<"$traced")" \
    -v said="$(grep shown "$scratch/summary" | sed 's/^trapline: //')" 'BEGIN {
      printf "%-7s %-10s %9.2f %9.2f %7.1f%%   %s\n", engine, technique, a / 1000, t / 1000, (t / a - 1) * 100, said
    }'
}

printf '%-7s %-10s %9s %9s %8s   %s\n' ENGINE TECHNIQUE ALONE TRACED MORE 'THE LAST CLIENT SAID'
for engine in "${engines[@]}"; do
  for technique in emulate interrupt linked; do
    row "$engine" "$technique"
  done
done
