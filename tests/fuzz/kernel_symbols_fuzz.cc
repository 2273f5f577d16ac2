// SPDX-License-Identifier: Apache-2.0
// Hostile symbol tables in guest memory. A token table that is right stands among them, since the
// search starts there and no fuzzer would guess one: behind the input, or before what follows the
// size that its first two bytes say, as later kernels have it.
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
  std::vector<std::byte> input = machine::CopyOf(data, size), bytes, behind;
  const size_t before = size < 2 ? size : std::min<size_t>(size, data[0] | data[1] << 8);
  bytes.assign(input.begin(), input.begin() + static_cast<ptrdiff_t>(before));
  behind.assign(input.begin() + static_cast<ptrdiff_t>(before), input.end());
  bytes.resize((bytes.size() + 7) & ~size_t{7});
  bytes.insert(bytes.end(), tokens.begin(), tokens.end());
  bytes.insert(bytes.end(), behind.begin(), behind.end());
  bytes.resize((bytes.size() + 7) & ~size_t{7});
  if (bytes.size() > kMemory) return 0;
  if (!memory.Clear().ok() || !memory.Write(kMemory - bytes.size(), bytes).ok()) std::abort();
  auto table = vm::FindKernelSymbols(memory, [](const vm::KernelTable&) { return true; });
  if (!table) return 0;
  for (const machine::Symbol& symbol : table->Code(0)) {
    if (symbol.name.empty() || symbol.size == 0) std::abort();
  }
  return 0;
}
