#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# How fast guest code computes: the kernels of core/guest/compute_kernels.h in a guest and as an ordinary process, in
# turn; for each the medians in cycles and the process's over the guest's (1.00: as fast, less: the guest is slower),
# with the least and the most of any round. Usage: compute.sh [ROUNDS]; ENGINE is the engine (auto), BUILD the build
# directory (build/release), RUNS and WORK what the programs take: figures per round, and how long each is.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5} runs=${RUNS:-11} work=${WORK:-10}
source tests/bench/daemon.sh

for round in $(seq "$rounds"); do
  compute_native "$runs" "$work" | sed "s/^/$round native /"
  trapline run "$build/guests/compute.elf" --engine "${ENGINE:-auto}" --memory 64M \
    --append "runs=$runs rounds=$work" | tr -d '\r' | sed "s/^/$round guest /"
done >"$scratch/figures"

# A line: ROUND native|guest NAME: cycles C ns N sum S
awk '
  function median(list, n, values, i, j, held) {
    n = split(list, values, " ")
    for (i = 2; i <= n; i++)
      for (j = i; j > 1 && values[j - 1] + 0 > values[j] + 0; j--) { held = values[j]; values[j] = values[j - 1]; values[j - 1] = held }
    return values[int((n + 1) / 2)]
  }
  $4 == "cycles" && $9 != 0 {
    if (!($3 in sum)) { names[++count] = $3; sum[$3] = $9 }
    if (sum[$3] != $9) { print "compute.sh: " $3 " " $2 " computed " $9 ", not " sum[$3] > "/dev/stderr"; bad = 1 }
    all[$2, $3] = all[$2, $3] " " $5
    at[$1, $2, $3] = $5
    if ($1 > rounds) rounds = $1
  }
  END {
    if (count == 0) { print "compute.sh: no figures" > "/dev/stderr"; exit 1 }
    printf "%-12s %14s %14s %8s   %s\n", "KERNEL", "PROCESS", "GUEST", "SPEED", "LEAST TO MOST"
    for (i = 1; i <= count; i++) {
      name = names[i]; ratios = ""; least = 1e9; most = 0
      for (r = 1; r <= rounds; r++) {
        if (!at[r, "guest", name] || !at[r, "native", name]) { print "compute.sh: no figure of " name " in round " r > "/dev/stderr"; bad = 1; continue }
        ratio = at[r, "native", name] / at[r, "guest", name]
        if (ratio < least) least = ratio
        if (ratio > most) most = ratio
      }
      process = median(all["native", name]); guest = median(all["guest", name])
      printf "%-12s %14d %14d %7.3fx   %.3f to %.3f\n", substr(name, 1, length(name) - 1), process, guest, guest ? process / guest : 0, least, most
    }
    exit bad
  }' "$scratch/figures"
