// SPDX-License-Identifier: Apache-2.0
// Trap handlers alone prove nothing: entry code is aligned to 2 MiB and the same in many builds, so
// a file of another build can agree about it and be wrong about all else.
#include "core/vm/kernel_match.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"

namespace trapline::vm {
namespace {

constexpr std::string_view kExportPrefix = "__ksymtab_";
constexpr size_t kFewestExports = 256;
constexpr size_t kLongestName = 512;

absl::Status Differs(absl::string_view what) {
  return absl::FailedPreconditionError(
      absl::StrCat("the symbols are of another build than the guest's kernel: ", what));
}
absl::Status CannotTell(absl::string_view why) { return absl::UnavailableError(why); }

// An entry of the export table: distances from each field to the symbol and to its name
// (CONFIG_HAVE_ARCH_PREL32_RELOCATIONS).
struct Export {
  int32_t value, name;
};

// As an address and a name in one.
std::string Placed(uint64_t address, std::string_view name) {
  return absl::StrCat(absl::Hex(address), " ", std::string(name));
}

// The code of a table: by name, and by address and name.
struct Code {
  explicit Code(const KernelTable& table) {
    for (const KernelSymbol& symbol : table.symbols()) {
      if (!symbol.IsCode()) continue;
      names.insert(symbol.name);
      placed.insert(Placed(symbol.address, symbol.name));
    }
  }
  std::unordered_set<std::string_view> names;
  std::unordered_set<std::string> placed;
};

bool HasName(const KernelReader& read, uint64_t linear, std::string_view name) {
  std::array<char, kLongestName + 1> text{};
  size_t size = std::min(name.size() + 1, text.size());
  return read(linear, std::as_writable_bytes(std::span(text).first(size))) &&
         name == std::string_view(text.data(), strnlen(text.data(), size));
}

}  // namespace

absl::Status MatchBuildId(const SymbolFile& file, uint64_t slide, const KernelReader& read) {
  if (!file.build_id) return CannotTell("the symbols have no build ID");
  std::vector<std::byte> bytes(file.build_id->bytes.size());
  if (!read(file.build_id->address + slide, bytes) || bytes != file.build_id->bytes)
    return Differs("its build ID is not theirs");
  return absl::OkStatus();
}

absl::Status MatchExports(const KernelTable& file, uint64_t slide, const KernelReader& read) {
  const Code code(file);
  size_t agreed = 0;
  for (const KernelSymbol& symbol : file.symbols()) {
    std::string_view name = symbol.name;
    if (!name.starts_with(kExportPrefix)) continue;
    name.remove_prefix(kExportPrefix.size());
    Export entry;
    uint64_t at = symbol.address + slide;
    if (!read(at, std::as_writable_bytes(std::span(&entry, 1))))
      return Differs(absl::StrCat("there is nothing at its ", symbol.name));
    uint64_t name_at = at + offsetof(Export, name) + static_cast<uint64_t>(int64_t{entry.name});
    if (!HasName(read, name_at, name))
      return Differs(
          absl::StrCat("it does not export ", std::string(name), " at 0x", absl::Hex(at)));
    if (code.names.count(name) == 0) continue;  // data, of which some is at no address
    uint64_t value = at + static_cast<uint64_t>(int64_t{entry.value}) - slide;
    if (code.placed.count(Placed(value, name)) == 0)
      return Differs(absl::StrCat("it has ", std::string(name), " elsewhere"));
    ++agreed;
  }
  return agreed >= kFewestExports
             ? absl::OkStatus()
             : CannotTell(absl::StrCat("only ", agreed, " exported functions to compare"));
}

absl::Status MatchKallsyms(const KernelTable& file, uint64_t slide, const KernelTable& kallsyms) {
  const Code known(file);
  for (const machine::Symbol& symbol : kallsyms.Code(0)) {
    if (known.placed.count(Placed(symbol.address - slide, symbol.name)) == 0) {
      return Differs(absl::StrCat("by its own table ", symbol.name, " is at 0x",
                                  absl::Hex(symbol.address), ", where they have something else"));
    }
  }
  return absl::OkStatus();
}

}  // namespace trapline::vm
