// SPDX-License-Identifier: Apache-2.0
// The turn goes to the VMM and comes back.
//
// Whoever waits spins for a while, since a call that the VMM serves takes less than a sleep and a
// wake-up, then says that it sleeps and does, on the word itself. The word is written before the
// other's `sleeps` is read, and `sleeps` before the word is looked at a last time by the kernel, so
// that one of the two sees the other.
#include <linux/futex.h>
#include <sys/syscall.h>

#include "core/engine/direct/program/process.h"

namespace trapline::engine::direct {
namespace {

// About what a sleep and a wake-up cost.
constexpr int kSpins = 400;

long Futex(std::atomic<uint32_t>& word, int operation, uint32_t value) {
  return SystemCall(SYS_futex, reinterpret_cast<long>(&word), operation, value);
}

void LoadBases() {
  __asm__ volatile("wrfsbase %0" : : "r"(control().fs_base));
  __asm__ volatile("wrgsbase %0" : : "r"(control().gs_base));
  control().set_bases = 0;
}

}  // namespace

void HandOver(Request request) {
  ControlPage& c = control();
  constexpr auto kHost = static_cast<uint32_t>(Turn::kHost);
  __asm__ volatile("rdfsbase %0" : "=r"(c.fs_base));
  __asm__ volatile("rdgsbase %0" : "=r"(c.gs_base));
  c.request = request;
  c.turn.store(kHost);
  if (c.host_sleeps.load() != 0) Futex(c.turn, FUTEX_WAKE, 1);
  for (int i = 0; i < kSpins && c.turn.load(std::memory_order_acquire) == kHost; ++i)
    __builtin_ia32_pause();
  while (c.turn.load(std::memory_order_acquire) == kHost) {
    c.guest_sleeps.store(1);
    Futex(c.turn, FUTEX_WAIT, kHost);
    c.guest_sleeps.store(0);
  }
  if (c.set_bases != 0) LoadBases();
  // Time has passed: the next call is to look whether it can be recorded.
  if (std::atomic_ref(c.tracing).load(std::memory_order_relaxed) != 0)
    std::atomic_ref(c.record).store(1, std::memory_order_relaxed);
}

// The way back found a kick that came before the guest's registers were its own.
extern "C" void Attend() {
  control().attention = 0;
  HandOver(Request::kKicked);
}

}  // namespace trapline::engine::direct
