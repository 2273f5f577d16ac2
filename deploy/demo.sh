#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a fresh checkout to a running guest: sets up, builds, starts traplined, boots Debian's cloud kernel on four
# vCPUs to a shell prompt, makes its hypercall sites hot and shows them. On a terminal it then hands you the guest's
# console; otherwise it ends. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

deploy/setup.sh
deploy/debian-guest.sh build/guest
cmake --preset release
cmake --build --preset release

bin=$PWD/build/release/bin
scratch=$(mktemp -d)
export TRAPLINE_HOST=unix://$scratch/traplined.sock
daemon=
finish() {
  if [ -n "$daemon" ] && kill "$daemon" 2>/dev/null; then wait "$daemon" || true; fi
  rm -rf "$scratch"
}
trap finish EXIT

echo; echo "== traplined"
"$bin/traplined" --listen "$TRAPLINE_HOST" --state-dir "$scratch/state" --run-dir "$scratch/run" --on-exit stop \
  >"$scratch/traplined.log" 2>&1 &
daemon=$!
for _ in $(seq 100); do
  "$bin/trapline" host >/dev/null 2>&1 && break
  kill -0 "$daemon" || { cat "$scratch/traplined.log" >&2; exit 1; }
  sleep 0.1
done
"$bin/trapline" host

echo; echo "== a stock Debian kernel on four vCPUs"
"$bin/trapline" vm create debian --kernel build/guest/vmlinuz --initrd build/guest/initramfs.cpio.gz \
  --append 'console=ttyS0' --vcpus 4 --memory 512M
"$bin/trapline" vm start debian
coproc CONSOLE { "$bin/trapline" vm console debian 2>&1; }
console_in=${CONSOLE[1]} console_out=${CONSOLE[0]} console_pid=${CONSOLE_PID:?}
# Shows the console up to the line or prompt that ends with $1; gives up after two minutes.
show_until() {
  local line='' byte
  while IFS= read -r -N 1 -t 120 byte <&"$console_out"; do
    printf '%s' "$byte"
    if [ "$byte" = $'\n' ]; then line=''; else line+=$byte; fi
    [[ $line != *"$1" ]] || return 0
  done
  echo "demo: the guest never said '$1'" >&2
  return 1
}
show_until 'guest# '
printf 'ipis 200\n' >&"$console_in"
show_until 'rounds done'
show_until 'guest# '
kill "$console_pid" 2>/dev/null || true

echo; echo; echo "== its hypercall sites"
"$bin/trapline" sites ls debian

echo; echo "== what a hypercall costs, by technique, natively on this CPU where it can be"
"$bin/trapline" bench hypercall

if [ -t 0 ] && [ -t 1 ]; then
  echo; echo "== the guest's console is yours (Ctrl-] d leaves it; the VM stops then)"
  "$bin/trapline" vm console debian || true
fi
"$bin/trapline" vm stop debian --force
"$bin/trapline" vm rm debian
