// SPDX-License-Identifier: Apache-2.0
// kallsyms as Linux 4.6 to 6.3 lay it out with CONFIG_KALLSYMS_BASE_RELATIVE (scripts/kallsyms.c);
// later ones have a table of name order before token_table:
//
//   offsets | relative_base | num_syms | names | markers | token_table | token_index
//
// There is no header, so the search starts from what must look a certain way: among the 256 tokens
// those for the digits stand for themselves, one behind the other. From there everything else is
// found by its neighbours and checked against them: the index repeats the table's string lengths,
// the markers count the names' bytes, and the names must hold _stext. Whatever does not agree is
// not a table. KASLR needs nothing: the kernel has relocated relative_base itself. All of it is
// guest memory and may be anything.
#include "core/vm/kernel_symbols.h"

#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/base/checked.h"
#include "core/machine/loader/bytes.h"

namespace trapline::vm {
namespace {

using machine::ReadAt;
using Bytes = std::span<const std::byte>;

constexpr size_t kTokens = 256, kNamesPerMarker = 256, kLongestToken = 64, kLongestName = 512;
constexpr uint64_t kMaxSymbols = 1 << 20;
constexpr uint64_t kReach = 16 << 20;  // from num_syms to token_table, at the most
// Names looked at in one search: a hundred kernels' worth, and an end to what a hostile guest can
// keep us busy with.
constexpr uint64_t kMostNames = 1 << 24;
constexpr std::string_view kDigits("0\0001\0002\0003\0004\0005\0006\0007\0008\0009\0", 20);

uint64_t AlignUp(uint64_t value) { return (value + 7) & ~uint64_t{7}; }

class Kallsyms {
 public:
  // names_left: how many names may yet be looked at.
  Kallsyms(Bytes memory, uint64_t* names_left) : memory_(memory), names_left_(*names_left) {}

  // The table around the digits at this offset, if there is one.
  bool Locate(uint64_t digits) { return FindTokens(digits) && FindNames(); }

  std::vector<machine::Symbol> Read() const {
    std::vector<machine::Symbol> symbols;
    uint64_t at = names_;
    bool has_text = false;
    for (uint64_t i = 0; i < count_; ++i) {
      auto name = NameAt(&at);
      auto offset = ReadAt<int32_t>(memory_, offsets_ + 4 * i);
      if (!name || !offset) return {};
      if (*offset >= 0 || name->size() < 2)
        continue;  // per-CPU and absolute symbols have no place in memory
      // The first character is the symbol's type; only text is of interest here.
      char type = (*name)[0];
      if (type != 't' && type != 'T' && type != 'w' && type != 'W') continue;
      uint64_t address = base_ - 1 - static_cast<int64_t>(*offset);
      has_text = has_text || *name == "T_stext";
      symbols.push_back({address, 0, name->substr(1)});
    }
    if (!has_text) return {};
    std::stable_sort(symbols.begin(), symbols.end(),
                     [](const auto& a, const auto& b) { return a.address < b.address; });
    // The last of several names for one address would win a search; the first is the function's own
    // as a rule.
    symbols.erase(std::unique(symbols.begin(), symbols.end(),
                              [](const auto& a, const auto& b) { return a.address == b.address; }),
                  symbols.end());
    return symbols;
  }

 private:
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
    return true;
  }

  // relative_base and num_syms stand out: an address in the kernel's half, then a small count with
  // zeros behind it.
  bool FindNames() {
    for (uint64_t at = (tokens_at_ & ~uint64_t{7}) - 8; at >= 16 && tokens_at_ - at < kReach;
         at -= 8) {
      auto base = ReadAt<uint64_t>(memory_, at - 8), count = ReadAt<uint64_t>(memory_, at);
      if (!base || !count || (*base >> 47) != 0x1ffff || *count < kNamesPerMarker ||
          *count > kMaxSymbols)
        continue;
      uint64_t size = AlignUp(4 * *count);
      if (size > at - 8 || !CheckMarkers(at + 8, *count)) continue;
      base_ = *base;
      count_ = *count;
      names_ = at + 8;
      offsets_ = at - 8 - size;
      return true;
    }
    return false;
  }

  // Marker i, behind the names, says where name 256 * i begins.
  bool CheckMarkers(uint64_t names, uint64_t count) const {
    std::vector<uint64_t> starts;
    uint64_t at = names;
    for (uint64_t i = 0; i < count; ++i) {
      if (names_left_ == 0) return false;
      --names_left_;
      if (i % kNamesPerMarker == 0) starts.push_back(at - names);
      if (at >= tokens_at_ || !SkipName(&at)) return false;
    }
    uint64_t markers = AlignUp(at);
    for (size_t i = 0; i < starts.size(); ++i) {
      auto marker = ReadAt<uint32_t>(memory_, markers + 4 * i);
      if (!marker || *marker != starts[i]) return false;
    }
    return true;
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
    for (uint64_t i = 0; i < *length; ++i)
      name += tokens_[std::to_integer<size_t>(memory_[*at + i])];
    *at += *length;
    if (name.size() > kLongestName) return std::nullopt;
    return name;
  }

  const Bytes memory_;
  uint64_t& names_left_;
  uint64_t tokens_at_ = 0, names_ = 0, count_ = 0, offsets_ = 0, base_ = 0;
  std::string tokens_[kTokens];
  uint64_t token_starts_[kTokens] = {};
};

}  // namespace

std::vector<machine::Symbol> FindKernelSymbols(const machine::GuestMemory& memory) {
  uint64_t region_start = 0, names_left = kMostNames;
  for (const machine::RamRegion& region : memory.regions()) {
    // Only what the guest has touched: looking into holes would fill them.
    auto region_end = static_cast<off_t>(region_start + region.size);
    off_t data = lseek(memory.fd(), static_cast<off_t>(region_start), SEEK_DATA);
    while (data >= 0 && data < region_end) {
      off_t hole = std::min(lseek(memory.fd(), data, SEEK_HOLE), region_end);
      if (hole <= data) break;
      Bytes bytes(region.host + (static_cast<uint64_t>(data) - region_start),
                  static_cast<size_t>(hole - data));
      const std::byte* from = bytes.data();
      const std::byte* end = bytes.data() + bytes.size();
      while (auto* hit = static_cast<const std::byte*>(
                 memmem(from, static_cast<size_t>(end - from), kDigits.data(), kDigits.size()))) {
        Kallsyms table(bytes, &names_left);
        if (table.Locate(static_cast<uint64_t>(hit - bytes.data()))) {
          auto symbols = table.Read();
          if (!symbols.empty()) return symbols;
        }
        from = hit + 1;
      }
      data = lseek(memory.fd(), hole, SEEK_DATA);
    }
    region_start += region.size;
  }
  return {};
}

}  // namespace trapline::vm
