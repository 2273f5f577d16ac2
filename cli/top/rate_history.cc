// SPDX-License-Identifier: Apache-2.0
// A site's latest rates, and how they are drawn.
#include "cli/top/rate_history.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace trapline::cli::top {
namespace {

constexpr std::array<absl::string_view, 8> kBlocks = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
constexpr std::array<absl::string_view, 8> kLetters = {".", ":", "-", "=", "+", "*", "%", "#"};

}  // namespace

void RateHistory::Put(uint64_t tick, float rate) {
  const uint64_t skipped = std::min(kKept, tick > newest_ ? tick - newest_ : 0);
  for (uint64_t i = 0; i < skipped; ++i) rates_[(tick - i) % kKept] = 0;
  newest_ = std::max(newest_, tick);
  rates_[tick % kKept] = rate;
}

std::vector<float> RateHistory::Last(uint64_t tick, uint64_t count) const {
  count = std::min(count, kKept);
  std::vector<float> rates;
  for (uint64_t back = count; back-- > 0;) {
    const uint64_t at = tick - back;
    const bool known = tick >= back && at <= newest_ && at + kKept > newest_;
    rates.push_back(known ? rates_[at % kKept] : 0);
  }
  return rates;
}

std::string Sparkline(const std::vector<float>& rates, const Glyphs& glyphs) {
  const auto& levels = glyphs.utf8 ? kBlocks : kLetters;
  const float most = rates.empty() ? 0 : *std::max_element(rates.begin(), rates.end());
  std::string line;
  for (const float rate : rates) {
    if (!(rate > 0)) {
      line.push_back(' ');
      continue;
    }
    const auto level = static_cast<size_t>(rate / most * static_cast<float>(levels.size() - 1));
    absl::StrAppend(&line, levels[std::min(level, levels.size() - 1)]);
  }
  return line;
}

}  // namespace trapline::cli::top
