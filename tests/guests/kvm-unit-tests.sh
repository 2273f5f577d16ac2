#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs images of kvm-unit-tests, which are built elsewhere, and prints what each of them found. Ends with 1 if one failed.
#   kvm-unit-tests.sh DIRECTORY [NAME...]       DIRECTORY has the NAME.flat files (x86/ of a built kvm-unit-tests)
# Without names: all that ask for neither nested virtualization nor PMU, Hyper-V or firmware. BIN says where trapline is.
set -euo pipefail
usage() {
  sed -n '3,5s/^# *//p' "$0"
  exit 2
}
[ -d "${1:-}" ] || usage
directory=$1
shift
names=("$@")
if [ ${#names[@]} = 0 ]; then
  names=(access_test apic asyncpf debug emulator eventinj hypercall idt_test ioapic kvmclock_test memory msr pcid rdpru realmode
    rmap_chain setjmp sieve smap smptest syscall tsc tsc_adjust tscdeadline_latency tsx-ctrl umip xsave)
fi
bin=${BIN:-$(cd "$(dirname "$0")/../.." && pwd)/build/release/bin}
scratch=$(mktemp -d)
export TRAPLINE_HOST=unix://$scratch/d.sock
"$bin/traplined" --listen "$TRAPLINE_HOST" --run-dir "$scratch/run" --state-dir "$scratch/state" --on-exit stop \
  2>/dev/null &
daemon=$!
trap 'kill $daemon; wait $daemon || true; rm -rf "$scratch"' EXIT
until "$bin/trapline" host >/dev/null 2>&1; do sleep 0.05; done

failed=0
for name in "${names[@]}"; do
  arguments=""
  [ "$name" != kvmclock_test ] || arguments="1000000 $(date +%s)"
  status=0
  timeout 120 "$bin/trapline" run "$directory/$name.flat" --vcpus 2 --append "$arguments" >"$scratch/output" 2>&1 || status=$?
  # The exit device's statuses: value << 1 | 1; 77 says that the test was skipped.
  case $status in
    1) verdict=ok ;;
    77) verdict="skipped" ;;
    124) verdict="no end in 120 s" failed=1 ;;
    *) verdict="FAILED (status $status)" failed=1 ;;
  esac
  printf '%-20s %-20s %5d passed %3d failed\n' "$name" "$verdict" "$(grep -c ^PASS "$scratch/output" || true)" \
    "$(grep -c ^FAIL "$scratch/output" || true)"
done
exit $failed
