// SPDX-License-Identifier: Apache-2.0
// kallsyms as Linux lays it out with CONFIG_KALLSYMS_BASE_RELATIVE (scripts/kallsyms.c), each table
// aligned to eight bytes:
//
//   4.6   offsets | relative_base | num_syms | names | markers | token_table | token_index
//   6.2   ... | markers | seqs_of_names | token_table | token_index   (and in stable trees of 6.1)
//   6.4   num_syms | names | markers | token_table | token_index | offsets | relative_base |
//   seqs...
//
// An offset is what a symbol is above relative_base. Up to 6.14 kernels for several processors
// count from -1 downwards instead, and what is not negative is a per-CPU or absolute symbol, which
// has no place in memory. Later kernels that have no relative_base at all are not read: nothing but
// their own page tables would tell where they are.
//
// There is no header, so the search starts from what must look a certain way: among the 256 tokens
// those for the digits stand for themselves, one behind the other. From there everything else is
// found by its neighbours and checked against them: the index repeats the table's string lengths,
// the markers count the names' bytes and end where the tokens begin, addresses rise, and the first
// of them is relative_base itself. Whatever does not agree is not a table, and what can be read in
// two ways is not read. KASLR needs nothing: the kernel has relocated relative_base itself. All of
// it is guest memory and may be anything.
#include "core/vm/kernel_symbols.h"

#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/checked.h"
#include "core/machine/loader/bytes.h"

namespace trapline::vm {
namespace {

using machine::ReadAt;
using Bytes = std::span<const std::byte>;

constexpr size_t kTokens = 256, kNamesPerMarker = 256, kLongestToken = 64, kLongestName = 512;
constexpr uint64_t kMaxSymbols = 1 << 20;
constexpr size_t kMostText = 64 << 20;  // of all names of a table
constexpr uint64_t kReach = 16 << 20;   // from num_syms to token_table, at the most
constexpr std::string_view kDigits("0\0001\0002\0003\0004\0005\0006\0007\0008\0009\0", 20);

// What may be looked at in one search: a hundred kernels' worth, and an end to what a hostile guest
// can keep us busy with.
struct Budget {
  uint64_t names = 1 << 24, words = 1 << 28;
};

uint64_t AlignUp(uint64_t value) { return (value + 7) & ~uint64_t{7}; }

class Kallsyms {
 public:
  Kallsyms(Bytes memory, Budget* budget) : memory_(memory), budget_(*budget) {}

  // The table around the digits at this offset, if there is one.
  bool Locate(uint64_t digits) { return FindTokens(digits) && FindNames(); }

  std::optional<std::vector<KernelSymbol>> Read() const {
    std::vector<KernelSymbol> symbols;
    uint64_t at = names_;
    size_t text = 0;
    for (uint64_t i = 0; i < count_; ++i) {
      auto name = NameAt(&at);
      auto offset = ReadAt<int32_t>(memory_, offsets_.at + 4 * i);
      if (!name || !offset || (text += name->size()) > kMostText) return std::nullopt;
      auto address = AddressOf(offsets_, *offset);
      // The first character is the symbol's type.
      if (address && name->size() > 1) symbols.push_back({*address, (*name)[0], name->substr(1)});
    }
    return symbols;
  }

 private:
  struct Offsets {
    uint64_t at, base;
    bool negative;  // counted from -1 downwards
  };

  bool FindTokens(uint64_t digits) {
    uint64_t at = digits;
    for (int i = 0; i < '0'; ++i) {
      if (at < 2) return false;
      uint64_t end = at - 1;  // the zero that ends the token before
      if (std::to_integer<int>(memory_[end]) != 0) return false;
      uint64_t start = end;
      while (start > 0 && end - start < kLongestToken &&
             std::to_integer<int>(memory_[start - 1]) != 0)
        --start;
      if (start == end) return false;
      at = start;
    }
    tokens_at_ = at;
    for (size_t i = 0; i < kTokens; ++i) {
      if (at >= memory_.size()) return false;
      const char* text = reinterpret_cast<const char*>(memory_.data() + at);
      size_t length = strnlen(text, std::min<uint64_t>(kLongestToken, memory_.size() - at));
      if (length == 0 || length == kLongestToken) return false;
      token_starts_[i] = at - tokens_at_;
      tokens_[i] = std::string(text, length);
      at += length + 1;
    }
    uint64_t index = AlignUp(at);
    for (size_t i = 0; i < kTokens; ++i) {
      auto entry = ReadAt<uint16_t>(memory_, index + 2 * i);
      if (!entry || *entry != token_starts_[i]) return false;
    }
    index_end_ = index + 2 * kTokens;
    return true;
  }

  // num_syms stands out: a small count with zeros behind it, and the names.
  bool FindNames() {
    if (tokens_at_ % 8 != 0 || tokens_at_ < 8) return false;
    for (uint64_t at = tokens_at_ - 8; tokens_at_ - at < kReach && budget_.words > 0; at -= 8) {
      --budget_.words;
      auto count = ReadAt<uint64_t>(memory_, at);
      if (count && *count >= kNamesPerMarker && *count <= kMaxSymbols) {
        names_ = at + 8;
        count_ = *count;
        if (CheckNames() && FindOffsets()) return true;
      }
      if (at < 8) break;
    }
    return false;
  }

  // Marker i, behind the names, says where name 256 * i begins; there is nothing but the order of
  // names between markers and tokens.
  bool CheckNames() const {
    std::vector<uint64_t> starts;
    uint64_t at = names_;
    for (uint64_t i = 0; i < count_; ++i) {
      if (budget_.names == 0) return false;
      --budget_.names;
      if (i % kNamesPerMarker == 0) starts.push_back(at - names_);
      if (at >= tokens_at_ || !SkipName(&at)) return false;
    }
    return MarkersLead<uint32_t>(AlignUp(at), starts) || MarkersLead<uint64_t>(AlignUp(at), starts);
  }
  template <typename Marker>
  bool MarkersLead(uint64_t markers, const std::vector<uint64_t>& starts) const {
    for (size_t i = 0; i < starts.size(); ++i) {
      auto marker = ReadAt<Marker>(memory_, markers + sizeof(Marker) * i);
      if (!marker || *marker != starts[i]) return false;
    }
    uint64_t end = AlignUp(markers + sizeof(Marker) * starts.size());
    constexpr std::array<uint64_t, 3> kOrderEntrySizes = {0, 3, 4};
    return std::any_of(kOrderEntrySizes.begin(), kOrderEntrySizes.end(),
                       [&](uint64_t size) { return AlignUp(end + size * count_) == tokens_at_; });
  }

  // Before num_syms, or behind the tokens.
  bool FindOffsets() {
    uint64_t size = AlignUp(4 * count_), num_syms = names_ - 8;
    std::optional<Offsets> before, behind = CheckOffsets(index_end_, index_end_ + size);
    if (num_syms >= size + 8) before = CheckOffsets(num_syms - 8 - size, num_syms - 8);
    if (before.has_value() == behind.has_value()) return false;
    offsets_ = before ? *before : *behind;
    return true;
  }
  std::optional<Offsets> CheckOffsets(uint64_t at, uint64_t base_at) const {
    auto base = ReadAt<uint64_t>(memory_, base_at);
    if (!base || (*base >> 47) != 0x1ffff) return std::nullopt;
    Offsets offsets{at, *base, false};
    auto entry = [&](uint64_t i) { return ReadAt<int32_t>(memory_, at + 4 * i).value_or(0); };
    for (uint64_t i = 0; i < count_; ++i) offsets.negative = offsets.negative || entry(i) < 0;
    std::optional<uint64_t> last;
    for (uint64_t i = 0; i < count_; ++i) {
      auto address = AddressOf(offsets, entry(i));
      if (!address) continue;
      if (last ? *address < *last : *address != *base) return std::nullopt;
      last = address;
    }
    return last ? std::optional(offsets) : std::nullopt;
  }
  static std::optional<uint64_t> AddressOf(const Offsets& offsets, int32_t offset) {
    if (!offsets.negative) return offsets.base + static_cast<uint32_t>(offset);
    if (offset >= 0) return std::nullopt;
    return offsets.base - 1 - static_cast<uint64_t>(int64_t{offset});
  }

  std::optional<uint64_t> NameLength(uint64_t* at) const {
    auto length = ReadAt<uint8_t>(memory_, (*at)++);
    if (!length) return std::nullopt;
    if (!(*length & 0x80)) return *length;
    auto more = ReadAt<uint8_t>(memory_, (*at)++);
    if (!more) return std::nullopt;
    return (*length & 0x7f) | static_cast<uint64_t>(*more) << 7;
  }
  bool SkipName(uint64_t* at) const {
    auto length = NameLength(at);
    if (!length || *length == 0) return false;
    *at += *length;
    return *at <= memory_.size();
  }
  std::optional<std::string> NameAt(uint64_t* at) const {
    auto length = NameLength(at);
    if (!length || !base::RangeFits(*at, *length, memory_.size())) return std::nullopt;
    std::string name;
    for (uint64_t i = 0; i < *length; ++i) {
      name += tokens_[std::to_integer<size_t>(memory_[*at + i])];
      if (name.size() > kLongestName) return std::nullopt;
    }
    *at += *length;
    return name;
  }

  const Bytes memory_;
  Budget& budget_;
  uint64_t tokens_at_ = 0, index_end_ = 0, names_ = 0, count_ = 0;
  Offsets offsets_{};
  std::string tokens_[kTokens];
  uint64_t token_starts_[kTokens] = {};
};

// In what the guest has touched of memory, piece by piece.
std::optional<KernelTable> Search(Bytes bytes, Budget* budget,
                                  absl::FunctionRef<bool(const KernelTable&)> accept) {
  const std::byte* from = bytes.data();
  const std::byte* end = bytes.data() + bytes.size();
  while (auto* hit = static_cast<const std::byte*>(
             memmem(from, static_cast<size_t>(end - from), kDigits.data(), kDigits.size()))) {
    Kallsyms kallsyms(bytes, budget);
    if (kallsyms.Locate(static_cast<uint64_t>(hit - bytes.data()))) {
      if (auto symbols = kallsyms.Read()) {
        auto table = KernelTable::Make(*std::move(symbols));
        if (table.ok() && accept(*table)) return *std::move(table);
      }
    }
    from = hit + 1;
  }
  return std::nullopt;
}

}  // namespace

std::optional<KernelTable> FindKernelSymbols(const machine::GuestMemory& memory,
                                             absl::FunctionRef<bool(const KernelTable&)> accept) {
  uint64_t region_start = 0;
  Budget budget;
  for (const machine::RamRegion& region : memory.regions()) {
    // Only what the guest has touched: looking into holes would fill them.
    auto region_end = static_cast<off_t>(region_start + region.size);
    off_t data = lseek(memory.fd(), static_cast<off_t>(region_start), SEEK_DATA);
    while (data >= 0 && data < region_end) {
      off_t hole = std::min(lseek(memory.fd(), data, SEEK_HOLE), region_end);
      if (hole <= data) break;
      Bytes bytes(region.host + (static_cast<uint64_t>(data) - region_start),
                  static_cast<size_t>(hole - data));
      if (auto table = Search(bytes, &budget, accept)) return table;
      data = lseek(memory.fd(), hole, SEEK_DATA);
    }
    region_start += region.size;
  }
  return std::nullopt;
}

}  // namespace trapline::vm
