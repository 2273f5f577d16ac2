/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest process and its VMM share: where everything lies, and the control page.
 *
 * The address space of a guest process:
 *
 *   0            nothing: null pointers fault
 *   0x10000      guest RAM at its guest-physical addresses, as the image's segments allow it
 *   0xa0000      the control page, one for each vCPU       | the hole that a PC leaves between
 *   0xa1000      the console ring, one for each vCPU       | 640 and 896 KiB, which is no RAM
 *   0xb2000      near stubs, for sites of five bytes       | to a guest
 *   0xe0000      guest RAM again, to its end below 3 GiB; the rest from 4 GiB on
 *   anywhere     pages of stubs for punned jumps, outside RAM (jump_plan.h)
 *   0x500...     far: the program (program/), the site table, the vCPU's own counters, call log and
 *                trace ring
 *
 * Absolute addresses below 2 GiB fit an instruction's displacement, so that stubs and entry.S reach
 * the control page without a register. All of this but code and the site table is writable by guest
 * code: the VMM copies what it reads from here once and believes nothing of it. */
#ifndef TRAPLINE_CORE_ENGINE_DIRECT_LAYOUT_H_
#define TRAPLINE_CORE_ENGINE_DIRECT_LAYOUT_H_

#define TRAPLINE_RAM_START 0x10000
#define TRAPLINE_CONTROL 0xa0000
#define TRAPLINE_RING 0xa1000
#define TRAPLINE_NEAR_STUBS 0xb2000
#define TRAPLINE_NEAR_END 0xe0000
#define TRAPLINE_PROGRAM 0x500000000000
#define TRAPLINE_SITE_TABLE 0x510000000000
#define TRAPLINE_COUNTERS 0x520000000000
#define TRAPLINE_CALL_LOG 0x530000000000
#define TRAPLINE_TRACE_RING 0x540000000000
#define TRAPLINE_SETUP 0x550000000000
/* The end of what a process can map with four levels of page tables. */
#define TRAPLINE_ADDRESS_END 0x7ffffffff000

/* Offsets in the control page that entry.S and stubs know. */
#define CONTROL_RAX 0
#define CONTROL_RCX 8
#define CONTROL_RDX 16
#define CONTROL_FLAGS 24
#define CONTROL_RESULT 32
#define CONTROL_RETURN 40
#define CONTROL_ATTENTION 48
#define CONTROL_RECORD 52
#define CONTROL_LINKED_ENTRY 56
#define CONTROL_VCPU 64
#define CONTROL_CLOCK_OFFSET 72
#define CONTROL_CLOCK_MULTIPLIER 80
#define CONTROL_RING_HEAD 88
#define CONTROL_RING_TAIL 128
#define CONTROL_HOST_SLEEPS 196
#define CONTROL_FRAME 256

/* Offsets in a site's counters (core/engine/site_counters.h). */
#define COUNTERS_NUMBER 0
#define COUNTERS_LINKED 192

/* The console ring: records of sixteen bytes, eight of them text. */
#define TRAPLINE_RING_RECORDS 4096
#define TRAPLINE_SLEEPS_FOR_GOOD 1

#ifndef __ASSEMBLER__

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/engine/call_log.h"
#include "core/engine/site_counters.h"

namespace trapline::engine::direct {

constexpr uint64_t kPage = 4096;

// A vCPU's registers while it does not execute, in encoding order.
struct Frame {
  uint64_t gpr[16];
  uint64_t rip;
  uint64_t rflags;
};

// Why a guest process hands over to its VMM.
enum class Request : uint32_t {
  kNone,
  kReady,      // set up and confined; nothing has run
  kFailed,     // could not be set up: `step` and `error` say why; the process ends
  kTrap,       // an invalid opcode, or a breakpoint of the patcher's, at frame.rip
  kInterrupt,  // int $0x1f at frame.rip
  kLinked,     // a linked site at frame.rip was entered
  kFault,      // any other exception: vector, error_code, address
  kKicked,     // the VMM asked for it
};

enum class Turn : uint32_t { kGuest, kHost };

// How the VMM waits for its turn: not asleep, for a while (and then looks at the ring), or until it
// is woken.
enum class Sleep : uint32_t { kAwake, kForGood = TRAPLINE_SLEEPS_FOR_GOOD, kForAWhile };

// What setting up can fail at.
enum class SetupStep : uint32_t { kMap, kUnmap, kSignals, kLimits, kFilter, kOrphan };

struct ControlPage {
  // Where a linked call keeps what it has to give back, and its answer.
  uint64_t rax, rcx, rdx, flags, result, return_rip;
  uint32_t attention;     // a kick came where the guest's registers were not its own: look before
                          // going back
  uint32_t record;        // the next linked call may be one to record; the process's own to clear
  uint64_t linked_entry;  // entry.S
  uint64_t vcpu;
  uint64_t clock_offset;      // host TSC at guest time zero
  uint64_t clock_multiplier;  // nanoseconds a tick, times 2^64; 0: ask the VMM
  uint64_t ring_head;         // records ever posted
  uint64_t ram_low_end, ram_high_end;
  uint32_t tracing;  // by the VMM: there is a trace ring, and calls are to be recorded in it
  uint32_t reserved0[3];
  alignas(64) uint64_t ring_tail;          // records ever taken, by the VMM
  alignas(64) std::atomic<uint32_t> turn;  // Turn; a futex
  std::atomic<uint32_t> host_sleeps;       // Sleep
  std::atomic<uint32_t> guest_sleeps;      // 0 or 1
  Request request;
  alignas(64) Frame frame;
  uint64_t raised;  // host cycles when the process noticed
  uint64_t vector, error_code, address;
  uint64_t fs_base, gs_base;
  uint32_t set_bases;  // by the VMM: load them before going on
  SetupStep step;
  int32_t error;
  // By the VMM: what the way through the host's kernel costs, for the time of a call.
  uint64_t trap_cycles, interrupt_cycles;
};

static_assert(offsetof(ControlPage, rax) == CONTROL_RAX &&
              offsetof(ControlPage, rcx) == CONTROL_RCX);
static_assert(offsetof(ControlPage, rdx) == CONTROL_RDX &&
              offsetof(ControlPage, flags) == CONTROL_FLAGS);
static_assert(offsetof(ControlPage, result) == CONTROL_RESULT &&
              offsetof(ControlPage, return_rip) == CONTROL_RETURN);
static_assert(offsetof(ControlPage, attention) == CONTROL_ATTENTION &&
              offsetof(ControlPage, record) == CONTROL_RECORD);
static_assert(offsetof(ControlPage, linked_entry) == CONTROL_LINKED_ENTRY &&
              offsetof(ControlPage, vcpu) == CONTROL_VCPU);
static_assert(offsetof(ControlPage, clock_offset) == CONTROL_CLOCK_OFFSET &&
              offsetof(ControlPage, clock_multiplier) == CONTROL_CLOCK_MULTIPLIER);
static_assert(offsetof(ControlPage, ring_head) == CONTROL_RING_HEAD &&
              offsetof(ControlPage, ring_tail) == CONTROL_RING_TAIL);
static_assert(offsetof(ControlPage, host_sleeps) == CONTROL_HOST_SLEEPS);
static_assert(offsetof(ControlPage, frame) == CONTROL_FRAME && sizeof(ControlPage) <= kPage);
static_assert(offsetof(SiteCounters, number) == COUNTERS_NUMBER);
static_assert(offsetof(SiteCounters, calls) + 2 * sizeof(uint64_t) * kNumbersPerSite ==
              COUNTERS_LINKED);

struct RingRecord {
  uint64_t bytes;  // the first in the low byte
  uint64_t count;  // of them
};
constexpr uint64_t kRingSize = TRAPLINE_RING_RECORDS * sizeof(RingRecord);
static_assert(TRAPLINE_RING + kRingSize < TRAPLINE_NEAR_STUBS);

// The site table: open addressing by GPA. Written by the VMM, read by guest processes.
struct SiteRow {
  std::atomic<uint64_t> gpa;  // 0: free
  uint32_t index;             // row of its counters
  uint8_t length;             // calls go on behind so many bytes
  std::atomic<bool> settled;
};
constexpr unsigned kSiteRowBits = 18;  // twice as many as there can be sites
constexpr uint64_t kSiteRows = 1 << kSiteRowBits;
inline uint64_t SiteHash(uint64_t gpa) {
  return (gpa * 0x9e3779b97f4a7c15u) >> (64 - kSiteRowBits);
}

// How a guest process is to be set up; read once, before anything of the guest's runs.
struct Mapping {
  uint64_t address, size, offset;
  uint32_t fd;
  uint32_t protection;  // PROT_*
};
struct Setup {
  uint64_t text_start, text_end;  // guest code runs between these, if it runs at all
  int32_t parent;                 // the VMM
  uint32_t mappings, gaps;
  // mappings times Mapping, then gaps times Gap: what is unmapped.
};
struct Gap {
  uint64_t address, size;
};
// It lies behind control page and ring in their file.
constexpr uint64_t kSetupOffset = TRAPLINE_RING + kRingSize - TRAPLINE_CONTROL;
constexpr uint64_t kMaxSetupSize = 256 << 10;

// Descriptors that a guest process is started with, and closes.
enum SetupFd : uint32_t { kControlFd = 3, kRamFd, kStubsFd, kTableFd, kStatsFd, kFdEnd };

// The signal that makes a guest process hand over: SIGUSR1.
constexpr int kKickSignal = 10;

}  // namespace trapline::engine::direct

#endif  // __ASSEMBLER__
#endif  // TRAPLINE_CORE_ENGINE_DIRECT_LAYOUT_H_
