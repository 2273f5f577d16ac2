// SPDX-License-Identifier: Apache-2.0
// The guest that attacks, or behaves (guests/hostile.c), and the words in its memory that it keeps
// for tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

#include "tests/vm/running_vm.h"

namespace trapline::vm {

// How far it is; how often it has gone round.
constexpr uint64_t kProgress = 0x3ff0000, kBeats = 0x3ff0008;

inline VmConfig HostileConfig(const std::string& attack) {
  return GuestConfig("hostile", attack, 1, EngineKind::kDirect);
}
inline uint64_t WordAt(RunningVm& guest, uint64_t gpa) {
  auto bytes = guest.vm().ReadPhysical(gpa, sizeof(uint64_t));
  uint64_t word = 0;
  if (bytes.ok()) memcpy(&word, bytes->data(), sizeof word);
  return word;
}
// Until it has gone round some more times, or is over.
inline void AwaitBeats(RunningVm& guest) {
  constexpr uint64_t kMore = 10;
  uint64_t before = WordAt(guest, kBeats);
  while (guest.vm().state() == State::kRunning && WordAt(guest, kBeats) < before + kMore) {
  }
}

}  // namespace trapline::vm
