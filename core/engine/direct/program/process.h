// SPDX-License-Identifier: Apache-2.0
// What the parts of the guest process's program ask of each other. It is freestanding: no library,
// no vector registers (they are the guest's), nothing of the host's but three system calls.
#pragma once

#include <cstdint>

#include "core/engine/direct/layout.h"

namespace trapline::engine::direct {

inline ControlPage& control() { return *reinterpret_cast<ControlPage*>(TRAPLINE_CONTROL); }

// entry.S. Hidden, so that their addresses are taken without a table.
#pragma GCC visibility push(hidden)
extern "C" {
long SystemCall(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                long f = 0);
void ReturnFromSignal();
extern const char linked_entry[], linked_tail[], linked_tail_end[], resume_tail[],
    resume_tail_end[];
// The linker: this program in memory.
extern const char program_start[], program_text_end[], program_end[];
}
#pragma GCC visibility pop

// setup.cc: everything up to the first hand-over; ends the process where it cannot be had.
void SetUp();
// Between which guest code lies.
struct GuestText {
  uint64_t start, end;
};
const GuestText& guest_text();

// signals.cc. The negated error number, or 0.
long InstallHandlers();

// handover.cc: gives the turn to the VMM, and returns when it comes back. The frame holds the
// guest's state, before and after.
void HandOver(Request request);

// services.cc. Answers a call that needs no host: RAX of frame becomes the result. False: it does
// need it.
bool ServeHere(Frame& frame);
// The row of a site that may be served here, or null: unknown or not settled.
const SiteRow* FindServable(uint64_t gpa);
SiteCounters& CountersOf(const SiteRow& row);
// Counts a call at a site, and answers it, and times and records it where that is due; false:
// nothing was done.
// overhead: cycles that were spent before.
bool CountAndServe(SiteCounters& counters, Path path, Frame& frame, uint64_t overhead);

// recording.cc. Whether a call is to be traced: asked before it is counted. now: host cycles.
bool BeginRecord(uint64_t now);
// A call that was timed: into the trace ring, where BeginRecord said so, or the call log, if it is
// one for that. The frame has its arguments and its answer; cycles and end are the host's.
void Record(bool traced, Path path, const SiteCounters& site, const Frame& frame, uint64_t number,
            uint64_t cycles, uint64_t end);

}  // namespace trapline::engine::direct
