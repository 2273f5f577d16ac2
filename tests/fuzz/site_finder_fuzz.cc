// SPDX-License-Identifier: Apache-2.0
// Any text, any entries: which hypercalls are found in it, and where their jumps would lead.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/engine/direct/jump_plan.h"
#include "core/engine/direct/layout.h"
#include "core/engine/direct/site_finder.h"

namespace {

using namespace trapline::engine;
using namespace trapline::engine::direct;

constexpr uint64_t kLow = 0x1000, kHigh = 0xffff0000, kRamEnd = uint64_t{64} << 20;

void Expect(bool good) {
  if (!good) std::abort();
}

// As a processor reads it.
uint64_t JumpTarget(const FoundSite& site, const PlannedJump& jump,
                    std::span<const std::byte> behind) {
  std::array<uint8_t, 12> code{};
  size_t own = site.five_bytes ? 5 : kSiteLength, at = 0;
  std::copy_n(jump.bytes.begin(), own, code.begin());
  if (!behind.empty()) std::memcpy(code.data() + own, behind.data(), behind.size());
  while (code[at] == 0x26) ++at;
  Expect(code[at] == 0xe9 && at + 5 <= own + behind.size());
  int32_t displacement;
  std::memcpy(&displacement, code.data() + at + 1, sizeof displacement);
  return site.gpa + at + 5 + static_cast<uint64_t>(int64_t{displacement});
}

std::span<const std::byte> BytesAt(std::span<const TextSpan> text, uint64_t gpa, size_t size) {
  for (const TextSpan& span : text) {
    if (gpa >= span.gpa && gpa - span.gpa < span.bytes.size()) {
      uint64_t offset = gpa - span.gpa;
      return span.bytes.subspan(offset, std::min<uint64_t>(size, span.bytes.size() - offset));
    }
  }
  return {};
}

void CheckSites(std::span<const TextSpan> text, const std::vector<FoundSite>& found) {
  JumpPlan plan({{0, kRamEnd}});
  for (size_t i = 0; i < found.size(); ++i) {
    const FoundSite& site = found[i];
    auto bytes = BytesAt(text, site.gpa, kSiteLength);
    Expect(bytes.size() == kSiteLength && std::memcmp(bytes.data(), site.original.data(), 3) == 0);
    Expect(i == 0 || found[i - 1].gpa + kSiteLength <= site.gpa);
    if (!site.confirmed) continue;
    constexpr size_t kMostBehind = 4;
    auto behind = BytesAt(text, site.gpa + kSiteLength, kMostBehind);
    PlannedJump jump = plan.Plan(site, behind);
    if (jump.result != RewriteResult::kDone) continue;
    Expect(JumpTarget(site, jump, site.five_bytes ? std::span<const std::byte>() : behind) ==
           jump.stub);
    bool near = jump.stub >= TRAPLINE_NEAR_STUBS && jump.stub + kStubSize <= TRAPLINE_NEAR_END;
    Expect(site.five_bytes ? near : jump.stub >= kRamEnd);
    Expect(jump.stub + kStubSize <= TRAPLINE_ADDRESS_END);
  }
  Expect(plan.pages().size() <= JumpPlan::kMaxPages);
}

}  // namespace

// A byte: how many entries; two bytes for each; the rest is text, half of it low, half as high as
// can be.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  size_t count = std::min<size_t>(data[0] % 16, (size - 1) / 2);
  const uint8_t* code = data + 1 + 2 * count;
  size_t length = size - 1 - 2 * count, half = length / 2;
  std::vector<uint64_t> entries = {kLow};
  for (size_t i = 0; i < count; ++i) {
    uint16_t where;
    std::memcpy(&where, data + 1 + 2 * i, sizeof where);
    entries.push_back((where & 1 ? kHigh : kLow) + (where >> 1) - 2);
  }
  const std::vector<TextSpan> text = {
      {kLow, std::as_bytes(std::span(code, half))},
      {kHigh, std::as_bytes(std::span(code + half, length - half))}};
  CheckSites(text, FindSites(text, entries));
  return 0;
}
