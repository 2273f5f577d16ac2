// SPDX-License-Identifier: Apache-2.0
// Hostile symbol tables in guest memory. Behind what the input says comes a token table that is
// right, since the search starts there and no fuzzer would guess one.
#include "core/vm/kernel_symbols.h"

#include "tests/fuzz/image_fuzz.h"

namespace {

constexpr uint64_t kMemory = 1 << 20;

std::vector<std::byte> TokenTable() {
  std::string table;
  std::vector<uint16_t> index;
  for (int i = 0; i < 256; ++i) {
    index.push_back(static_cast<uint16_t>(table.size()));
    table += i >= '0' && i <= 'z' ? std::string(1, static_cast<char>(i)) : "unused";
    table += '\0';
  }
  table.resize((table.size() + 7) & ~size_t{7});
  std::vector<std::byte> bytes(table.size() + 2 * index.size());
  std::memcpy(bytes.data(), table.data(), table.size());
  std::memcpy(bytes.data() + table.size(), index.data(), 2 * index.size());
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace trapline;
  static machine::GuestMemory& memory = *machine::GuestMemory::Create(kMemory)->release();
  static const std::vector<std::byte> tokens = TokenTable();
  std::vector<std::byte> bytes = machine::CopyOf(data, size);
  bytes.resize((bytes.size() + 7) & ~size_t{7});
  bytes.insert(bytes.end(), tokens.begin(), tokens.end());
  if (bytes.size() > kMemory) return 0;
  if (!memory.Clear().ok() || !memory.Write(kMemory - bytes.size(), bytes).ok()) std::abort();
  for (const machine::Symbol& symbol : vm::FindKernelSymbols(memory)) {
    if (symbol.name.empty()) std::abort();
  }
  return 0;
}
