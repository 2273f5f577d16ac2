#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What counting costs: cycles per hypercall with the counters and without, in turn, and the ratio of the medians, for
# each technique. Usage: counting.sh [ROUNDS]; BUILD is the build directory (build/release).
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-9}
build=${BUILD:-build/release}
median() { tr ' ' '\n' | grep -v '^$' | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

printf '%-10s %10s %10s %10s\n' TECHNIQUE COUNTED UNCOUNTED MORE
for technique in emulate interrupt linked; do
  calls=$([ "$technique" = emulate ] && echo 20000 || echo 1000000)
  counted="" uncounted=""
  for _ in $(seq "$rounds"); do
    counted+=" $("$build/bin/hypercall_cost" "$build/guests/hypercall_bench.elf" "$technique" 1 "$calls" | sed -n "s|^$technique:||p")"
    uncounted+=" $("$build/bin/hypercall_cost_uncounted" "$build/guests/hypercall_bench.elf" "$technique" 1 "$calls" | sed -n "s|^$technique:||p")"
  done
  with=$(median <<<"$counted") without=$(median <<<"$uncounted")
  printf '%-10s %10s %10s %9s%%\n' "$technique" "$with" "$without" "$(awk -v a="$with" -v b="$without" 'BEGIN { printf "%.1f", (a / b - 1) * 100 }')"
done
