// SPDX-License-Identifier: Apache-2.0
// Sorting, extents, the slide.
#include "core/vm/kernel_table.h"

#include <algorithm>
#include <array>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"

namespace trapline::vm {
namespace {

// KASLR moves a kernel by whole 2 MiB, within the gigabyte that images have.
constexpr uint64_t kSlideUnit = uint64_t{2} << 20, kMostSlide = uint64_t{1} << 30;

// What the kernel calls the handlers of TrapHandlers' vectors: since 5.8, and before.
constexpr std::array<std::array<std::string_view, 3>, kTrapVectors.size()> kHandlerNames = {{
    {"asm_exc_divide_error", "divide_error", ""},
    {"asm_exc_invalid_op", "invalid_op", ""},
    {"asm_exc_general_protection", "general_protection", ""},
    {"asm_exc_page_fault", "page_fault", "async_page_fault"},
}};

// The order in which scripts/kallsyms.c puts names of one address.
auto Rank(const KernelSymbol& symbol) {
  std::string_view name = symbol.name;
  bool weak = symbol.type == 'w' || symbol.type == 'W';
  bool boundary =
      name.starts_with("__start_") || name.starts_with("__stop_") || name.starts_with("__end_");
  size_t underscores = std::min(name.find_first_not_of('_'), name.size());
  return std::make_tuple(weak, boundary, underscores);
}

std::optional<uint64_t> AddressOf(std::span<const KernelSymbol> symbols, std::string_view name) {
  auto found = std::find_if(symbols.begin(), symbols.end(),
                            [&](const KernelSymbol& symbol) { return symbol.name == name; });
  if (found == symbols.end()) return std::nullopt;
  return found->address;
}

absl::Status NoSlide(absl::string_view why) {
  return absl::FailedPreconditionError(
      absl::StrCat("the guest's trap handlers are not where the symbols have them: ", why));
}

}  // namespace

absl::StatusOr<KernelTable> KernelTable::Make(std::vector<KernelSymbol> symbols) {
  KernelTable table;
  table.symbols_ = std::move(symbols);
  std::stable_sort(table.symbols_.begin(), table.symbols_.end(), [](const auto& a, const auto& b) {
    return a.address != b.address ? a.address < b.address : Rank(a) < Rank(b);
  });
  constexpr std::pair<std::string_view, std::string_view> kRegions[] = {
      {"_stext", "_etext"}, {"_sinittext", "_einittext"}};
  for (auto [first, last] : kRegions) {
    auto start = AddressOf(table.symbols_, first), end = AddressOf(table.symbols_, last);
    bool sound = start && end && *start >> 63 && *start < *end;
    if (sound) table.regions_.push_back({*start, *end});
    if (first == "_stext" && !sound) {
      return absl::InvalidArgumentError(
          start ? "_stext and _etext do not span a kernel's text (are addresses hidden?)"
                : "no symbols of a kernel's text: no _stext");
    }
  }
  return table;
}

std::vector<machine::Symbol> KernelTable::Code(uint64_t slide) const {
  std::vector<machine::Symbol> code;
  auto next = symbols_.begin();  // the first that is higher
  for (auto it = symbols_.begin(); it != symbols_.end(); ++it) {
    uint64_t at = it->address;
    while (next != symbols_.end() && next->address <= at) ++next;
    if (!it->IsCode() || (!code.empty() && code.back().address == at + slide)) continue;
    auto region = std::find_if(regions_.begin(), regions_.end(),
                               [&](const Region& r) { return at >= r.start && at < r.end; });
    if (region == regions_.end()) continue;
    uint64_t end = next == symbols_.end() ? region->end : std::min(region->end, next->address);
    code.push_back({at + slide, end - at, it->name, true});
  }
  return code;
}

absl::StatusOr<uint64_t> KernelTable::SlideTo(const TrapHandlers& handlers) const {
  std::array<std::vector<uint64_t>, kTrapVectors.size()> known;
  for (const KernelSymbol& symbol : symbols_) {
    for (size_t i = 0; i < known.size(); ++i) {
      const auto& names = kHandlerNames[i];
      if (std::find(names.begin(), names.end(), symbol.name) != names.end())
        known[i].push_back(symbol.address);
    }
  }
  for (size_t i = 0; i < known.size(); ++i) {
    if (known[i].empty())
      return NoSlide(absl::StrCat("they have no ", std::string(kHandlerNames[i][0])));
  }
  for (uint64_t first : known[0]) {
    uint64_t slide = handlers.linear[0] - first;
    bool all = true;
    for (size_t i = 1; i < known.size(); ++i)
      all = all && std::count(known[i].begin(), known[i].end(), handlers.linear[i] - slide) != 0;
    if (all && slide % kSlideUnit == 0 && slide < kMostSlide) return slide;
  }
  return NoSlide(absl::StrCat("that of vector ", kTrapVectors[0], " is at 0x",
                              absl::Hex(handlers.linear[0]), ", ", std::string(kHandlerNames[0][0]),
                              " at 0x", absl::Hex(known[0][0])));
}

}  // namespace trapline::vm
