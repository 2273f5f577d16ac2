// SPDX-License-Identifier: Apache-2.0
// System.map is what `nm -n` prints, "ffffffff81000000 T _stext", and so is /proc/kallsyms, which
// names a module behind each symbol of a module's.
#include "core/vm/symbol_file.h"

#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace trapline::vm {
namespace {

constexpr size_t kMaxSymbols = 1 << 20, kLongestName = 512, kLongestLine = 1024;
constexpr absl::string_view kElfMagic("\177ELF", 4);

absl::Status NoMap(size_t line) {
  return absl::InvalidArgumentError(absl::StrCat("neither an ELF file nor a System.map: line ",
                                                 line, " is not an address, a type and a name"));
}

absl::StatusOr<std::vector<KernelSymbol>> ReadMap(absl::string_view text) {
  std::vector<KernelSymbol> symbols;
  for (size_t line = 1; !text.empty(); ++line) {
    size_t length = std::min(text.find('\n'), text.size());
    if (length > kLongestLine) return NoMap(line);
    std::vector<absl::string_view> words =
        absl::StrSplit(text.substr(0, length), absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    text.remove_prefix(std::min(length + 1, text.size()));
    if (words.empty()) continue;
    uint64_t address;
    if (words.size() < 3 || !absl::SimpleHexAtoi(words[0], &address) || words[1].size() != 1 ||
        words[2].size() > kLongestName)
      return NoMap(line);
    if (words.size() > 3) continue;
    if (symbols.size() == kMaxSymbols)
      return absl::InvalidArgumentError(absl::StrCat("more than ", kMaxSymbols, " symbols"));
    symbols.push_back({address, words[1][0], std::string(words[2])});
  }
  return symbols;
}

std::vector<KernelSymbol> FromElf(std::span<const std::byte> file) {
  std::vector<KernelSymbol> symbols;
  for (machine::ElfSymbol& symbol : machine::ReadElfSymbols(file))
    symbols.push_back({symbol.address, symbol.in_code ? 't' : 'd', std::move(symbol.name)});
  return symbols;
}

}  // namespace

absl::StatusOr<SymbolFile> ReadSymbolFile(std::span<const std::byte> file) {
  absl::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  bool is_elf = text.substr(0, kElfMagic.size()) == kElfMagic;
  absl::StatusOr<std::vector<KernelSymbol>> symbols;
  if (is_elf) {
    symbols = FromElf(file);
    if (symbols->empty()) return absl::InvalidArgumentError("an ELF file without a symbol table");
  } else {
    symbols = ReadMap(text);
  }
  if (!symbols.ok()) return symbols.status();
  auto table = KernelTable::Make(*std::move(symbols));
  if (!table.ok()) return table.status();
  return SymbolFile{*std::move(table), is_elf ? machine::FindElfBuildId(file) : std::nullopt};
}

}  // namespace trapline::vm
