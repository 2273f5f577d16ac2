// SPDX-License-Identifier: Apache-2.0
// Calls that need no host: answered, counted and timed here, and recorded (recording.cc). entry.S
// answers and counts the commonest at a linked site.
#include <linux/futex.h>
#include <sys/syscall.h>
#include <x86intrin.h>

#include <atomic>

#include "core/engine/direct/program/process.h"
#include "core/guest/abi.h"
#include "core/x86/registers.h"

namespace trapline::engine::direct {
namespace {

__extension__ typedef unsigned __int128 Uint128;

bool Clock(Frame& frame) {
  ControlPage& c = control();
  if (c.clock_multiplier == 0) return false;
  uint64_t ticks = __rdtsc() - c.clock_offset;
  frame.gpr[x86::kRax] =
      static_cast<uint64_t>(static_cast<Uint128>(ticks) * c.clock_multiplier >> 64);
  return true;
}

bool Post(uint64_t bytes, uint64_t count) {
  ControlPage& c = control();
  std::atomic_ref head(c.ring_head);
  std::atomic_ref tail(c.ring_tail);
  uint64_t at = head.load(std::memory_order_relaxed);
  if (at - tail.load(std::memory_order_acquire) >= TRAPLINE_RING_RECORDS) return false;
  auto* ring = reinterpret_cast<RingRecord*>(TRAPLINE_RING);
  ring[at % TRAPLINE_RING_RECORDS] = {bytes, count};
  head.store(at + 1);
  // Before the way back the turn goes over, and with it comes who empties the ring.
  if (c.host_sleeps.load() == static_cast<uint32_t>(Sleep::kForGood)) c.attention = 1;
  return true;
}

bool InRam(uint64_t gpa, uint64_t length) {
  const ControlPage& c = control();
  uint64_t end = gpa + length;
  if (end < gpa) return false;
  return (gpa >= TRAPLINE_RAM_START && end <= TRAPLINE_CONTROL) ||
         (gpa >= TRAPLINE_NEAR_END && end <= c.ram_low_end) ||
         (gpa >= uint64_t{1} << 32 && end <= c.ram_high_end);
}

bool ConsoleWrite(Frame& frame) {
  ControlPage& c = control();
  uint64_t gpa = frame.gpr[x86::kRbx], length = frame.gpr[x86::kRcx];
  constexpr uint64_t kWord = sizeof(uint64_t);
  if (length > 4096 || !InRam(gpa, length)) return false;
  uint64_t used = std::atomic_ref(c.ring_head).load(std::memory_order_relaxed) -
                  std::atomic_ref(c.ring_tail).load(std::memory_order_acquire);
  if (used + (length + kWord - 1) / kWord > TRAPLINE_RING_RECORDS) return false;
  for (uint64_t done = 0; done < length; done += kWord) {
    uint64_t count = length - done < kWord ? length - done : kWord, bytes = 0;
    for (uint64_t i = 0; i < count; ++i)
      bytes |= uint64_t{reinterpret_cast<const volatile uint8_t*>(gpa)[done + i]} << 8 * i;
    if (!Post(bytes, count)) return false;
  }
  frame.gpr[x86::kRax] = length;
  return true;
}

bool ConsolePut(Frame& frame) {
  uint64_t count = frame.gpr[x86::kRcx];
  if (count > sizeof(uint64_t) || !Post(frame.gpr[x86::kRbx], count)) return false;
  frame.gpr[x86::kRax] = count;
  return true;
}

}  // namespace

bool ServeHere(Frame& frame) {
  switch (frame.gpr[x86::kRax]) {
    case TRAPLINE_HC_PING:
      frame.gpr[x86::kRax] = frame.gpr[x86::kRbx];
      return true;
    case TRAPLINE_HC_CLOCK:
      return Clock(frame);
    case TRAPLINE_HC_VCPU_NUMBER:
      frame.gpr[x86::kRax] = control().vcpu;
      return true;
    case TRAPLINE_HC_CONSOLE_WRITE:
      return ConsoleWrite(frame);
    case TRAPLINE_HC_CONSOLE_PUT:
      return ConsolePut(frame);
    default:
      return false;
  }
}

const SiteRow* FindServable(uint64_t gpa) {
  const auto* rows = reinterpret_cast<const SiteRow*>(TRAPLINE_SITE_TABLE);
  for (uint64_t i = SiteHash(gpa), looked = 0; looked < kSiteRows;
       ++looked, i = (i + 1) % kSiteRows) {
    uint64_t known = rows[i].gpa.load(std::memory_order_acquire);
    if (known == 0) return nullptr;
    if (known == gpa) return rows[i].settled.load(std::memory_order_acquire) ? &rows[i] : nullptr;
  }
  return nullptr;
}

SiteCounters& CountersOf(const SiteRow& row) {
  return reinterpret_cast<SiteCounters*>(TRAPLINE_COUNTERS)[row.index];
}

bool CountAndServe(SiteCounters& counters, Path path, Frame& frame, uint64_t overhead) {
  uint64_t start = __rdtsc(), number = frame.gpr[x86::kRax];
  if (!ServeHere(frame)) return false;
  Shared<uint64_t>& calls = counters.calls[static_cast<size_t>(path)][SlotFor(counters, number)];
  bool traced = BeginRecord(start);
  bool timed = traced || path == Path::kTrap ||
               calls.load(std::memory_order_relaxed) % kTimedOneIn == 0 ||
               std::atomic_ref(control().record).load(std::memory_order_relaxed) != 0;
  Bump(calls);
  if (timed) {
    uint64_t end = __rdtsc(), cycles = end - start + overhead, now = end - control().clock_offset;
    TimeCall(counters, path, cycles, now);
    Record(traced, path, counters, frame, number, cycles, end);
  }
  return true;
}

// A linked call that entry.S left: another number, one that is to be timed or recorded, or one for
// the VMM. The frame stands behind the site.
extern "C" void ServeLinked(SiteCounters* counters) {
  Frame& frame = control().frame;
  if (CountAndServe(*counters, Path::kLinked, frame, 0)) return;
  control().raised = __rdtsc();
  HandOver(Request::kLinked);
}

}  // namespace trapline::engine::direct
