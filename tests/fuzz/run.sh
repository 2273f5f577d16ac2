#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs fuzz targets for SECONDS each, two at a time, from what is known already: tests/fuzz/seeds and what earlier runs
# found. Usage: run.sh SECONDS [NAME...]; BUILD is the build directory (build/asan). Then
#   run.sh keep [NAME...]       makes the smallest set of inputs that reach as much the new seeds
#   run.sh coverage [NAME...]   says how much of the code that it is about each target reaches (another build)
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BUILD:-build/asan}
what=${1:?SECONDS, keep or coverage}
shift
names=("$@")
if [ ${#names[@]} = 0 ]; then
  for source in tests/fuzz/*_fuzz.cc; do names+=("$(basename "$source" _fuzz.cc)"); done
fi

found() { echo "$build/tests/fuzz/found/$1"; }
seeds() { echo "tests/fuzz/seeds/$1"; }

fuzz() {
  mkdir -p "$(found "$2")" "$(seeds "$2")"
  local log="$build/tests/fuzz/$2.log"
  if "$build/bin/$2_fuzz" -max_total_time="$1" -max_len=4096 -len_control=0 -timeout=60 \
    -artifact_prefix="$build/tests/fuzz/$2-" "$(found "$2")" "$(seeds "$2")" >"$log" 2>&1; then
    echo "$2: $(grep -aoE '[0-9]+ runs in [0-9]+ second' "$log")s"
  else
    echo "$2: FAILED, see $log" >&2
    return 1
  fi
}

keep() {
  local smallest
  smallest=$(mktemp -d)
  "$build/bin/$1_fuzz" -set_cover_merge=1 -max_len=4096 "$smallest" "$(seeds "$1")" "$(found "$1")" 2>/dev/null
  rm -rf "$(seeds "$1")"
  mkdir -p "$(seeds "$1")"
  local inputs
  # Some targets have thousands, each of which reaches one edge more; those that reach the most were written first.
  mapfile -t inputs < <(find "$smallest" -type f -size -4k -printf '%T@ %p\n' | sort -n | cut -d ' ' -f 2-)
  cp -t "$(seeds "$1")" "${inputs[@]:0:200}"
  echo "$1: $(find "$(seeds "$1")" -type f | wc -l) seeds"
  rm -rf "$smallest"
}

# The files that a target is about.
subject() {
  case $1 in
    blocks) echo core/engine/soft ;;
    bzimage) echo core/machine/loader/bzimage.cc core/machine/loader/boot_layout.cc ;;
    decoder) echo core/engine/soft/decode ;;
    elf) echo core/machine/loader/elf.cc core/machine/loader/elf_symbols.cc ;;
    guest_process) echo core/engine/direct/vcpu.cc core/engine/direct/channel.cc core/engine/direct/guest_process.cc ;;
    hypercall) echo core/hypercall ;;
    kernel_symbols) echo core/vm/kernel_symbols.cc core/vm/kernel_table.cc core/vm/kernel_match.cc ;;
    ledger) echo cli/ledger_file.cc cli/ledger_csv.cc cli/ledger_diff.cc cli/ledger_diff_text.cc ;;
    multiboot) echo core/machine/loader/multiboot.cc ;;
    platform) echo core/machine/platform core/machine/devices core/machine/interrupt core/machine/timer ;;
    privileged) echo core/engine/direct/privileged.cc ;;
    rpc) echo daemon/control daemon/common ;;
    site_code) echo core/vm/site_code.cc core/vm/disassembler.cc ;;
    site_finder) echo core/engine/direct/site_finder.cc core/engine/direct/jump_plan.cc ;;
    stats) echo core/hypercall/stats_reader.cc ;;
    symbol_file) echo core/vm/symbol_file.cc core/vm/symbols.cc ;;
    trace_file) echo cli/trace ;;
    *) echo "$1: say in $0 which files it is about" >&2 && exit 1 ;;
  esac
}

coverage() {
  local profile
  profile=$(mktemp)
  LLVM_PROFILE_FILE="$profile" "build/coverage/bin/$1_fuzz" -runs=0 -max_len=4096 "$(seeds "$1")" "$(found "$1")" >/dev/null 2>&1
  llvm-profdata-14 merge -o "$profile.data" "$profile"
  local files
  read -ra files <<<"$(subject "$1")"
  llvm-cov-14 report "build/coverage/bin/$1_fuzz" -instr-profile="$profile.data" "${files[@]}" |
    awk -v name="$1" '/^TOTAL/ { printf "%-16s lines %s, branches %s\n", name, $10, $13 }'
  rm -f "$profile" "$profile.data"
}

case $what in
  keep) for name in "${names[@]}"; do keep "$name"; done ;;
  coverage)
    cmake --preset asan -B build/coverage -DCMAKE_CXX_FLAGS='-fprofile-instr-generate -fcoverage-mapping' >/dev/null
    cmake --build build/coverage --target "${names[@]/%/_fuzz}" >/dev/null
    for name in "${names[@]}"; do coverage "$name"; done
    ;;
  *)
    if [ ${#names[@]} = 1 ]; then
      fuzz "$what" "${names[0]}"
    else
      printf '%s\n' "${names[@]}" | xargs -P 2 -n 1 "tests/fuzz/run.sh" "$what"
    fi
    ;;
esac
