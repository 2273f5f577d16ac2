// SPDX-License-Identifier: Apache-2.0
// Changing code that other processors may be executing.
//
// Processors fetch and decode ahead, so bytes that change under one may be seen half old and half
// new (Intel SDM volume 3, section 8.1.3, cross-modifying code). The order here is the
// breakpoint's:
//
//   1. the first byte becomes int3: whoever comes by from now on traps, and its call is served as a
//   trap;
//   2. all vCPUs serialise: nobody is inside the old bytes any more, or has them in its pipeline;
//   3. the other bytes become the new ones, which nobody executes;
//   4. all vCPUs serialise;
//   5. the first byte becomes the new one.
//
// Each write of a first byte is one byte and so is seen whole. Step 2 is membarrier(2), which
// interrupts every processor that runs a process which has registered for it, and waits; an
// interrupt returns by IRET, which serialises (section 8.3). A guest process that does not run at
// that moment passes an IRET or a system call before it does. A step more behind 5 is not needed:
// who still sees int3 traps, and is served.
//
// A call is answered once whatever it meets: the old bytes, the breakpoint or the new ones each
// enter the core by themselves, and none of them is partly executed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace trapline::engine::direct {

// Makes all guest processes serialise that execute at this moment.
void SerialiseGuests();

// Replaces bytes, at least one, of code that guest processes map, through this process's mapping.
// One caller at a time for each piece of code.
void RewriteCode(std::byte* code, std::span<const uint8_t> bytes);

}  // namespace trapline::engine::direct
