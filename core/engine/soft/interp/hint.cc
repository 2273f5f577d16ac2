// SPDX-License-Identifier: Apache-2.0
// What computes nothing: NOPs, PAUSE, prefetches, cache-line flushes, fences (SDM volume 2).
//
// The guest's accesses are the host's, so its fences are the host's, too. Flushing a line is only a
// permission check: nothing behind guest memory can tell whether it happened.
#include <immintrin.h>
#include <sched.h>

#include <atomic>

#include "core/engine/soft/interp/access.h"

namespace trapline::engine::soft {
namespace {

const Op* DoNothing(Cpu& cpu, const Op* op) { return cpu.Then(op); }

// A guest that spins may wait for a vCPU whose thread has no host CPU right now.
constexpr uint32_t kPausesPerYield = 256;

const Op* Pause(Cpu& cpu, const Op* op) {
  if (++cpu.pauses % kPausesPerYield == 0) {
    sched_yield();
  } else {
    _mm_pause();
  }
  return cpu.Then(op);
}

const Op* FenceAll(Cpu& cpu, const Op* op) {
  _mm_mfence();
  return cpu.Then(op);
}

const Op* FenceLoads(Cpu& cpu, const Op* op) {
  _mm_lfence();
  return cpu.Then(op);
}

const Op* FenceStores(Cpu& cpu, const Op* op) {
  _mm_sfence();
  return cpu.Then(op);
}

// Takes the faults of a byte's load.
const Op* FlushLine(Cpu& cpu, const Op* op) {
  cpu.HostForRead(ReadAddress<Addressing::kChecked, uint8_t>(cpu, op), 1);
  return cpu.Then(op);
}

template <Handler kRun>
bool BindTo(const Instruction&, Op& op) {
  return Install(op, kRun);
}

constexpr Binding kBindings[] = {
    {ZYDIS_MNEMONIC_NOP, BindTo<DoNothing>},
    {ZYDIS_MNEMONIC_PREFETCH, BindTo<DoNothing>},
    {ZYDIS_MNEMONIC_PREFETCHNTA, BindTo<DoNothing>},
    {ZYDIS_MNEMONIC_PREFETCHT0, BindTo<DoNothing>},
    {ZYDIS_MNEMONIC_PREFETCHT1, BindTo<DoNothing>},
    {ZYDIS_MNEMONIC_PREFETCHT2, BindTo<DoNothing>},
    {ZYDIS_MNEMONIC_PREFETCHW, BindTo<DoNothing>},
    {ZYDIS_MNEMONIC_PREFETCHWT1, BindTo<DoNothing>},
    {ZYDIS_MNEMONIC_PAUSE, BindTo<Pause>},
    {ZYDIS_MNEMONIC_MFENCE, BindTo<FenceAll>},
    {ZYDIS_MNEMONIC_LFENCE, BindTo<FenceLoads>},
    {ZYDIS_MNEMONIC_SFENCE, BindTo<FenceStores>},
    {ZYDIS_MNEMONIC_CLFLUSH, BindTo<FlushLine>},
    {ZYDIS_MNEMONIC_CLFLUSHOPT, BindTo<FlushLine>},
    {ZYDIS_MNEMONIC_CLWB, BindTo<FlushLine>},
};

}  // namespace

std::span<const Binding> HintBindings() { return kBindings; }

}  // namespace trapline::engine::soft
