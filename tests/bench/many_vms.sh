#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a VM costs beyond its guest's RAM: makes and starts VMS idle guests of 16 MiB on a daemon of its own, and prints how
# long a create and start takes to the guest's first line (median of RUNS, with none and with all of them there), how long a
# list of them all takes, and memory per VM: what workers, guest processes, zygote and daemon hold (Pss: a page that several share counts
# once), less the guests' RAM. Usage: many_vms.sh [VMS [RUNS]]; BUILD is the build directory (build/release), ENGINE
# what executes the guests (auto).
set -euo pipefail
cd "$(dirname "$0")/../.."
vms=${1:-100} runs=${2:-40}
source tests/bench/daemon.sh

# KiB of a kind (Pss, Private_Dirty, ...) that processes hold, less the guests' RAM.
held() {
  local kind=$1 pid
  shift
  for pid in "$@"; do cat "/proc/$pid/smaps"; done | awk -v kind="$kind:" '
    /^[0-9a-f]+-[0-9a-f]+ / { ram = /memfd:guest-ram/ }
    $1 == kind && !ram { sum += $2 }
    END { print sum + 0 }'
}
# The daemon's children and theirs: workers, the zygote, guest processes of engine direct.
children() {
  local pids=("$daemon") found=()
  while [ "${#pids[@]}" -gt 0 ]; do
    mapfile -t pids < <(for pid in "${pids[@]}"; do cat "/proc/$pid/task/"*/children 2>/dev/null; done | tr ' ' '\n' | sed '/^$/d' | sort -n | uniq)
    found+=("${pids[@]}")
  done
  printf '%s\n' "${found[@]}"
}
first_line() {
  trapline bench boot "$build/guests/hello.elf" --until hello --from create --runs "$runs" --memory 16M --engine "${ENGINE:-auto}" |
    grep -o 'median.*' | awk '{ printf "%.1f ms", $2 * 1000 }'
}

echo "create to first line, no other VM: $(first_line)"
mapfile -t before < <(children)
empty=$(held Pss "$daemon" "${before[@]}")
for i in $(seq "$vms"); do
  trapline vm create "idle-$i" --kernel "$build/guests/idle.elf" --memory 16M --engine "${ENGINE:-auto}" >/dev/null
  trapline vm start "idle-$i" >/dev/null
done
mapfile -t after < <(children)
for kind in Pss Private_Dirty Rss; do
  all=$(held $kind "$daemon" "${after[@]}")
  [ $kind != Pss ] || pss=$all
  awk -v kind=$kind -v kib="$all" -v vms="$vms" 'BEGIN { printf "%-14s %7.2f MiB a VM\n", kind, kib / 1024 / vms }'
done
awk -v kib=$((pss - empty)) -v vms="$vms" 'BEGIN { printf "%-14s %7.2f MiB a VM\n", "Pss, growth", kib / 1024 / vms }'
awk -v kib="$(held Pss "$daemon")" -v vms="$vms" 'BEGIN { printf "%-14s %7.2f MiB in all, %.3f a VM\n", "the daemon", kib / 1024, kib / 1024 / vms }'
count() { find "$1" -mindepth 1 -maxdepth 1 | wc -l; }
for pid in "${after[@]}"; do [ "$(cat "/proc/$pid/comm")" != trapline-vmm ] || worker=$pid; done
echo "threads: $(count "/proc/$daemon/task") in the daemon, $(count "/proc/$worker/task") in a worker; the daemon's descriptors: $(count "/proc/$daemon/fd")"
start=$(date +%s%N)
listed=$(trapline vm ls -o name | wc -l)
echo "list: $listed VMs in $((($(date +%s%N) - start) / 1000000)) ms, the client's own start included"
echo "create to first line, $vms others idle: $(first_line)"
