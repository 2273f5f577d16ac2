// SPDX-License-Identifier: Apache-2.0
// Any instruction in any state: either it is executed and RIP stands behind it, or nothing has
// changed.
#include <cstdlib>
#include <cstring>

#include "core/engine/direct/privileged.h"
#include "tests/engine/machine.h"

namespace {

using namespace trapline;
using namespace trapline::engine;
using namespace trapline::engine::direct;

void Expect(bool good) {
  if (!good) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  struct Input {
    Frame frame;
    uint64_t cr0, cr2, cr3, cr4, efer, rflags;
    uint32_t port_value, task_priority;
  } input{};
  size_t head = std::min(size, sizeof input);
  std::memcpy(&input, data, head);
  TestHost host;
  host.port_value = input.port_value;
  host.task_priority = input.task_priority & 15;
  host.msrs[0x1b] = 0;
  x86::Registers registers;
  registers.cr0 = input.cr0, registers.cr2 = input.cr2, registers.cr3 = input.cr3;
  registers.cr4 = input.cr4, registers.efer = input.efer, registers.rflags = input.rflags;
  const x86::Registers before = registers;
  Frame frame = input.frame;
  VirtualCpu cpu{host, 1, 2, frame, registers};
  Emulation result = EmulatePrivileged(std::as_bytes(std::span(data + head, size - head)), cpu);
  Expect(frame.rflags == input.frame.rflags);
  if (result == Emulation::kNotEmulated) {
    Expect(std::memcmp(&frame, &input.frame, sizeof frame) == 0 && !cpu.bases_changed);
    Expect(registers == before);
    Expect(host.port_reads.empty() && host.port_writes.empty() && host.msrs[0x1b] == 0);
    return 0;
  }
  constexpr uint64_t kLongest = 15;
  uint64_t length = frame.rip - input.frame.rip;
  Expect(length >= 1 && length <= kLongest && length <= size - head);
  // What it may not change, whatever it was.
  Expect(registers.cr0 == before.cr0 && registers.cr3 == before.cr3 && registers.cr4 == before.cr4);
  Expect(registers.efer == before.efer);
  return 0;
}
