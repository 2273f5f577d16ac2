#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a trace client costs the guest: cycles per hypercall with `trapline trace` reading and without, in turn, for each
# technique, and whether each call was shown or counted as dropped. Usage: trace.sh [ROUNDS]; BUILD is the build directory.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5}
build=${BUILD:-build/release}
scratch=$(mktemp -d)
export TRAPLINE_HOST=unix://$scratch/d.sock PATH=$build/bin:$PATH
traplined --listen "$TRAPLINE_HOST" --run-dir "$scratch/run" --state-dir "$scratch/state" 2>/dev/null &
daemon=$!
trap 'kill $daemon 2>/dev/null; wait $daemon || true; rm -rf "$scratch"' EXIT
until trapline host >/dev/null 2>&1; do
  kill -0 "$daemon" 2>/dev/null || { echo "$0: traplined does not run; is it built?" >&2; exit 1; }
  sleep 0.05
done
median() { tr ' ' '\n' | grep -v '^$' | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# Cycles per call; "traced" as the second argument has a client read, which waits until it listens.
measure() {
  local client=""
  trapline vm create bench --kernel "$build/guests/hypercall_bench.elf" --memory 64M --engine "${ENGINE:-soft}" --technique "$1" \
    --append "technique=$1 runs=1 calls=$calls" >/dev/null
  if [ "$2" = traced ]; then
    : >"$scratch/summary"
    trapline trace bench >"$scratch/trace" 2>"$scratch/summary" &
    client=$!
    until grep -q tracing "$scratch/summary"; do sleep 0.02; done
  fi
  trapline vm start bench >/dev/null
  trapline vm wait bench >/dev/null
  [ -z "$client" ] || wait "$client"
  trapline vm console bench </dev/null 2>/dev/null | grep -o "$1: [0-9]*" | cut -d: -f2
  trapline vm rm bench >/dev/null
}

printf '%-10s %8s %8s %8s   %s\n' TECHNIQUE ALONE TRACED MORE 'THE LAST CLIENT SAID'
for technique in emulate interrupt linked; do
  calls=$([ "$technique" = emulate ] && echo 500000 || echo 20000000)
  alone="" traced=""
  for _ in $(seq "$rounds"); do
    alone+=" $(measure "$technique" alone)"
    traced+=" $(measure "$technique" traced)"
  done
  a=$(median <<<"$alone") t=$(median <<<"$traced")
  printf '%-10s %8s %8s %7s%%   %s\n' "$technique" "$a" "$t" "$(awk -v a="$t" -v b="$a" 'BEGIN { printf "%.1f", (a / b - 1) * 100 }')" \
    "$(grep shown "$scratch/summary" | sed 's/^trapline: //')"
done
