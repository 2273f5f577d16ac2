#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Boots Debian's kernel to the first line of init on one vCPU, by Trapline and by QEMU's TCG side by side, and prints both
# times and their ratio. Usage: boot.sh [RUNS]; BUILD is the build directory (build/release). Needs qemu-system-x86 and
# build/guest (deploy/debian-guest.sh).
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${1:-5}
kernel=build/guest/vmlinuz initrd=build/guest/initramfs.cpio.gz append='console=ttyS0 trapline.poweroff'
source tests/bench/daemon.sh

# Seconds until a command's output has the first line of init; the command is ended then.
until_init() {
  local start end output
  start=$(date +%s.%N)
  exec {output}< <(exec "$@" 2>/dev/null </dev/null)
  local command=$!
  grep -q -m 1 'init: first line' <&"$output" || true
  end=$(date +%s.%N)
  kill "$command" 2>/dev/null || true
  exec {output}<&-
  awk -v a="$start" -v b="$end" 'BEGIN { printf "%.2f", b - a }'
}
for run in $(seq "$runs"); do
  ours=$(until_init trapline run "$kernel" --initrd "$initrd" --append "$append" --memory 256M)
  theirs=$(until_init qemu-system-x86_64 -M microvm,acpi=off,rtc=on -accel tcg -m 256 -nographic -no-reboot \
    -kernel "$kernel" -initrd "$initrd" -append "$append reboot=t panic=-1")
  echo "run $run: trapline ${ours}s, qemu tcg ${theirs}s, ratio $(awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "%.2f", a / b }')"
done
