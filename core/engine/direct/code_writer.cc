// SPDX-License-Identifier: Apache-2.0
// The five steps.
#include "core/engine/direct/code_writer.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

namespace trapline::engine::direct {
namespace {

constexpr uint8_t kBreakpoint = 0xcc;

void WriteByte(std::byte* at, uint8_t value) {
  std::atomic_ref(*reinterpret_cast<uint8_t*>(at)).store(value, std::memory_order_seq_cst);
}

}  // namespace

void SerialiseGuests() { syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0); }

void RewriteCode(std::byte* code, std::span<const uint8_t> bytes) {
  WriteByte(code, kBreakpoint);
  SerialiseGuests();
  for (size_t i = 1; i < bytes.size(); ++i) WriteByte(code + i, bytes[i]);
  SerialiseGuests();
  WriteByte(code, bytes[0]);
}

}  // namespace trapline::engine::direct
