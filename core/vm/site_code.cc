// SPDX-License-Identifier: Apache-2.0
// Original instructions give the lines; what differs is decoded again as it is now.
//
// A jump of a site of three bytes is five bytes long and shares the last two with the instructions
// behind it, which are still executed as they stand: a call goes on behind the site. So the current
// side is decoded afresh at every original instruction, and only what was rewritten by its own
// lengths.
#include "core/vm/site_code.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "core/x86/paging.h"

namespace trapline::vm {
namespace {

constexpr uint32_t kMostTrampolineLines = 100;
// Room for a hundred instructions to either side; a function that begins farther away is not
// followed from its start.
constexpr uint64_t kRoom = 2048, kFarthestStart = 64 << 10;
constexpr uint8_t kMnemonicBytes[][engine::kSiteLength] = {{0x0f, 0x01, 0xc1}, {0x0f, 0x01, 0xd9}};

using Lines = std::map<uint64_t, SiteLine>;

bool IsHypercall(const Instruction& instruction) {
  return std::any_of(std::begin(kMnemonicBytes), std::end(kMnemonicBytes), [&](const auto& bytes) {
    return std::equal(std::begin(bytes), std::end(bytes), instruction.bytes.begin(),
                      instruction.bytes.end(),
                      [](uint8_t a, std::byte b) { return std::byte{a} == b; });
  });
}

// Where the instruction begins that shall be shown first, as an offset; site is one too.
size_t FirstShown(const CodeWindow& window, size_t site, uint32_t before) {
  if (before == 0) return site;
  const auto bytes = std::span(window.original).first(site);
  const std::vector<uint8_t> lengths = InstructionLengths(bytes, window.code_bits);
  // Of each offset: whether decoding from there comes to the site, and how many ways lead there.
  std::vector<bool> meets(site + 1);
  std::vector<uint32_t> ways(site + 1, 1);
  meets[site] = true;
  for (size_t at = site; at-- > 0;)
    meets[at] = lengths[at] != 0 && at + lengths[at] <= site && meets[at + lengths[at]];
  for (size_t at = 0; at < site; ++at) {
    if (meets[at]) ways[at + lengths[at]] += ways[at];
  }
  uint64_t function = window.function.value_or(0) - window.address;
  if (window.function && *window.function >= window.address && function < site && meets[function]) {
    std::vector<size_t> starts;
    for (size_t at = function; at < site; at += lengths[at]) starts.push_back(at);
    return starts.size() > before ? starts[starts.size() - before] : starts.front();
  }
  size_t first = site;
  for (uint32_t i = 0; i < before; ++i) {
    std::optional<size_t> best;
    for (size_t length = 1; length <= std::min<size_t>(first, 15); ++length) {
      size_t at = first - length;
      if (meets[at] && lengths[at] == length && (!best || ways[at] > ways[*best])) best = at;
    }
    if (!best) break;
    first = *best;
  }
  return first;
}

class Comparison {
 public:
  Comparison(const CodeWindow& window, uint64_t site, const Names& names)
      : window_(window), site_(site), names_(names) {}

  // original: the instructions, one behind the other.
  std::vector<SiteLine> Lay(const std::vector<Instruction>& original) {
    for (size_t i = 0; i < original.size();) {
      size_t next = i + 1;
      if (Differs(original[i])) {
        // Padding behind a site is part of it; another site is not.
        while (next < original.size() && Differs(original[next]) && !IsHypercall(original[next]))
          ++next;
        LayRewritten(original[i].address, EndOf(original[next - 1]));
      } else {
        LineAt(original[i].address).current = original[i];
      }
      for (; i < next; ++i) LineAt(original[i].address).original = original[i];
    }
    std::vector<SiteLine> lines;
    for (auto& [address, line] : lines_) {
      line.site = address >= site_ && address < site_end_;
      lines.push_back(std::move(line));
    }
    return lines;
  }

 private:
  static uint64_t EndOf(const Instruction& instruction) {
    return instruction.address + instruction.bytes.size();
  }
  bool Differs(const Instruction& original) const {
    auto now = window_.current.begin() + static_cast<ptrdiff_t>(original.address - window_.address);
    return !std::equal(original.bytes.begin(), original.bytes.end(), now);
  }
  SiteLine& LineAt(uint64_t address) {
    SiteLine& line = lines_[address];
    line.address = address;
    return line;
  }
  // What stands in [start, end) now: the first instruction, however far it reaches, and behind it
  // what lies within.
  void LayRewritten(uint64_t start, uint64_t end) {
    if (start <= site_ && site_ < end) site_end_ = end;
    auto from = std::span(window_.current).subspan(start - window_.address);
    auto now = DisassembleBytes(from, start, window_.code_bits, 1, names_);
    if (now.empty()) return;
    uint64_t at = EndOf(now.front());
    if (at < end) {
      auto rest = from.subspan(at - start, end - at);
      auto more =
          DisassembleBytes(rest, at, window_.code_bits, static_cast<uint32_t>(rest.size()), names_);
      now.insert(now.end(), more.begin(), more.end());
    }
    for (Instruction& instruction : now) {
      uint64_t address = instruction.address;
      LineAt(address).current = std::move(instruction);
    }
  }

  const CodeWindow& window_;
  const uint64_t site_;
  const Names& names_;
  uint64_t site_end_ = site_ + engine::kSiteLength;
  Lines lines_;
};

}  // namespace

SitePlace::SitePlace(uint64_t gva, uint64_t gpa, const machine::Symbol* function)
    : gva_(gva), address_(gva & ~x86::kPageMask), pages_{gpa & ~x86::kPageMask} {
  if (function && gva - function->address < kFarthestStart) function_ = function->address;
}

void SitePlace::Extend(absl::FunctionRef<absl::StatusOr<uint64_t>(uint64_t linear)> translate) {
  uint64_t first = gva_ - std::min(gva_, kRoom), last = gva_ + std::min(~gva_, kRoom);
  if (function_) first = std::min(first, *function_);
  while (address_ > first) {
    auto page = translate(address_ - x86::kPageSize);
    if (!page.ok()) break;
    address_ -= x86::kPageSize;
    pages_.insert(pages_.begin(), *page);
  }
  for (uint64_t next = (gva_ & ~x86::kPageMask) + x86::kPageSize; next != 0 && next <= last;
       next += x86::kPageSize) {
    auto page = translate(next);
    if (!page.ok()) break;
    pages_.push_back(*page);
  }
}

std::vector<SiteLine> SiteLines(const CodeWindow& window, uint64_t site, uint32_t before,
                                uint32_t after, const Names& names) {
  size_t at = site - window.address;
  if (site < window.address || at >= window.original.size()) return {};
  size_t first = FirstShown(window, at, before);
  auto bytes = std::span(window.original).subspan(first);
  auto leading = DisassembleBytes(bytes.first(at - first), window.address + first, window.code_bits,
                                  before, names);
  auto rest = DisassembleBytes(bytes.subspan(at - first), site, window.code_bits, after + 1, names);
  leading.insert(leading.end(), rest.begin(), rest.end());
  return Comparison(window, site, names).Lay(leading);
}

SiteTrampoline DescribeTrampoline(const engine::Trampoline& trampoline, const Names& names) {
  auto label = [&](uint64_t address) {
    auto known = trampoline.labels.find(address);
    return known != trampoline.labels.end() ? known->second : names(address);
  };
  return {trampoline.address, trampoline.name,
          DisassembleBytes(trampoline.code, trampoline.address, 64, kMostTrampolineLines, label)};
}

}  // namespace trapline::vm
