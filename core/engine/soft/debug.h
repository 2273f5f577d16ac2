// SPDX-License-Identifier: Apache-2.0
// Breakpoints and watchpoints of the debug registers (Intel SDM volume 3, chapter 17).
//
// While any is enabled the dispatcher runs one instruction at a time. A page that data is watched
// in never gets a fast-path tag in the TLB, so every access to it comes to NoteDataAccess; what it
// finds is raised as a trap behind the instruction.
#pragma once

#include <cstdint>

namespace trapline::engine::soft {

class Cpu;

namespace debug {

constexpr uint64_t kDr6Hits = 0xf, kDr6GeneralDetect = 1u << 13, kDr6SingleStep = 1u << 14;
constexpr uint64_t kDr6Ones = 0xffff0ff0, kDr6Writable = 0xe00f;
constexpr uint64_t kDr7One = 0x400, kDr7Writable = 0xffff2bff, kDr7Enables = 0xff,
                   kDr7GeneralDetect = 1u << 13;

}  // namespace debug

// True if any breakpoint is enabled.
bool BreakpointsEnabled(const Cpu& cpu);
// The DR6 bits of the enabled instruction breakpoints at this linear address.
uint64_t CodeBreakpoints(const Cpu& cpu, uint64_t linear);
// True if an enabled data breakpoint lies in the page at page_address.
bool PageWatched(const Cpu& cpu, uint64_t page_address);
// Notes the data or port breakpoints that an access hits in Cpu::debug_hits.
void NoteDataAccess(Cpu& cpu, uint64_t linear, uint64_t size, bool write);
void NotePortAccess(Cpu& cpu, uint16_t port, unsigned size);

}  // namespace trapline::engine::soft
