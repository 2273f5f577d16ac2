// SPDX-License-Identifier: Apache-2.0
// A recursive descent over the text: from each entry, instruction by instruction, along direct
// jumps and calls and past conditional ones, until something that control flow does not pass. What
// is reached so is an instruction, unless another way through the same bytes leads to one that
// overlaps it; then nobody can tell.
//
// The bytes of a hypercall in a place that was not reached stay a question: they may be the middle
// of another instruction, a table, or code that is only called through pointers and has no symbol.
#include "core/engine/direct/site_finder.h"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <optional>

namespace trapline::engine::direct {
namespace {

constexpr uint8_t kLongest = ZYDIS_MAX_INSTRUCTION_LENGTH;
constexpr std::array<uint8_t, kSiteLength> kSites[] = {{0x0f, 0x01, 0xc1}, {0x0f, 0x01, 0xd9}};
constexpr std::array<uint8_t, 2> kPadding = {0x66, 0x90};

class Walk {
 public:
  explicit Walk(std::span<const TextSpan> text) : text_(text) {
    ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisDecoderEnableMode(&decoder_, ZYDIS_DECODER_MODE_MINIMAL, ZYAN_FALSE);
    for (const TextSpan& span : text) lengths_.emplace_back(span.bytes.size());
  }

  void From(uint64_t entry) {
    pending_.push_back(entry);
    while (!pending_.empty()) {
      uint64_t at = pending_.back();
      pending_.pop_back();
      while (Step(&at)) {
      }
    }
  }

  bool Confirms(size_t span, size_t at) const {
    const auto& lengths = lengths_[span];
    if (lengths[at] != kSiteLength) return false;
    size_t first = at < kLongest ? 0 : at - kLongest;
    for (size_t i = first; i < at; ++i) {
      if (i + lengths[i] > at) return false;
    }
    for (size_t i = at + 1; i < at + kSiteLength; ++i) {
      if (lengths[i] != 0) return false;
    }
    return true;
  }

 private:
  // Decodes the instruction at *at and moves on to the next; false where this way ends.
  bool Step(uint64_t* at) {
    for (size_t s = 0; s < text_.size(); ++s) {
      uint64_t offset = *at - text_[s].gpa;
      if (*at < text_[s].gpa || offset >= text_[s].bytes.size()) continue;
      if (lengths_[s][offset] != 0) return false;  // was here
      ZydisDecodedInstruction instruction;
      std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
      auto rest = text_[s].bytes.subspan(offset);
      if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder_, rest.data(), rest.size(), &instruction,
                                               operands.data())))
        return false;
      lengths_[s][offset] = instruction.length;
      if (auto target = Target(instruction, operands[0], *at)) pending_.push_back(*target);
      *at += instruction.length;
      return FallsThrough(instruction);
    }
    return false;
  }

  static std::optional<uint64_t> Target(const ZydisDecodedInstruction& instruction,
                                        const ZydisDecodedOperand& operand, uint64_t at) {
    bool branch = instruction.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE;
    ZyanU64 target;
    if (!branch || instruction.operand_count_visible == 0 ||
        operand.type != ZYDIS_OPERAND_TYPE_IMMEDIATE ||
        !ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&instruction, &operand, at, &target)))
      return std::nullopt;
    return target;
  }

  // UD2 is passed: kernels trap there, and go on behind it.
  static bool FallsThrough(const ZydisDecodedInstruction& instruction) {
    return instruction.meta.category != ZYDIS_CATEGORY_RET &&
           instruction.meta.category != ZYDIS_CATEGORY_UNCOND_BR &&
           instruction.mnemonic != ZYDIS_MNEMONIC_IRETQ;
  }

  const std::span<const TextSpan> text_;
  ZydisDecoder decoder_;
  std::vector<std::vector<uint8_t>> lengths_;  // of instructions, at their first byte
  std::vector<uint64_t> pending_;
};

bool Matches(std::span<const std::byte> bytes, size_t at, std::span<const uint8_t> pattern) {
  return at + pattern.size() <= bytes.size() &&
         std::equal(pattern.begin(), pattern.end(), bytes.begin() + static_cast<ptrdiff_t>(at),
                    [](uint8_t a, std::byte b) { return std::byte{a} == b; });
}

}  // namespace

std::vector<FoundSite> FindSites(std::span<const TextSpan> text,
                                 std::span<const uint64_t> entries) {
  Walk walk(text);
  for (uint64_t entry : entries) walk.From(entry);
  std::vector<FoundSite> found;
  for (size_t s = 0; s < text.size(); ++s) {
    const TextSpan& span = text[s];
    for (size_t at = 0; at + kSiteLength <= span.bytes.size(); ++at) {
      for (const auto& site : kSites) {
        if (!Matches(span.bytes, at, site)) continue;
        found.push_back({.gpa = span.gpa + at,
                         .original = site,
                         .confirmed = walk.Confirms(s, at),
                         .five_bytes = Matches(span.bytes, at + kSiteLength, kPadding)});
      }
    }
  }
  std::sort(found.begin(), found.end(),
            [](const FoundSite& a, const FoundSite& b) { return a.gpa < b.gpa; });
  return found;
}

}  // namespace trapline::engine::direct
