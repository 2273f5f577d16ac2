// SPDX-License-Identifier: Apache-2.0
// The host's time-stamp counter: what every cycle figure in Trapline is measured in.
#pragma once

#include <x86intrin.h>

#include <cstdint>

namespace trapline::base {

// The host TSC now. Not serialised: good for intervals of tens of cycles and more. Thread-safe.
inline uint64_t HostCycles() { return __rdtsc(); }

// Host TSC ticks per second, measured once per process against CLOCK_MONOTONIC_RAW (about 10 ms).
// Thread-safe.
uint64_t HostCyclesPerSecond();

}  // namespace trapline::base
