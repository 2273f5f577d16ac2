// SPDX-License-Identifier: Apache-2.0
// Calibrates the host's time-stamp counter.
#include "core/base/cycles.h"

#include <time.h>

namespace trapline::base {
namespace {

constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;
constexpr uint64_t kCalibrationNanoseconds = 10'000'000;

uint64_t RawNanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return static_cast<uint64_t>(now.tv_sec) * kNanosecondsPerSecond + now.tv_nsec;
}

uint64_t Calibrate() {
  uint64_t start_ns = RawNanoseconds(), start = HostCycles();
  uint64_t ns, ticks;
  do {
    ns = RawNanoseconds();
    ticks = HostCycles();
  } while (ns - start_ns < kCalibrationNanoseconds);
  return static_cast<uint64_t>(static_cast<unsigned __int128>(ticks - start) *
                               kNanosecondsPerSecond / (ns - start_ns));
}

}  // namespace

uint64_t HostCyclesPerSecond() {
  static const uint64_t frequency = Calibrate();
  return frequency;
}

}  // namespace trapline::base
