// SPDX-License-Identifier: Apache-2.0
// A site's latest rates, and how they are drawn.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace trapline::cli::top {

// One rate for each tick of the VM's watch; ticks at which nothing was put had none, so a site that
// is idle costs nothing.
class RateHistory {
 public:
  static constexpr uint64_t kKept = 32;

  void Put(uint64_t tick, float rate);
  // The `count` ticks up to `tick`, oldest first.
  std::vector<float> Last(uint64_t tick, uint64_t count) const;

 private:
  std::array<float, kKept> rates_{};
  uint64_t newest_ = 0;
};

// What a terminal can show.
struct Glyphs {
  bool utf8 = true;

  absl::string_view arrow() const { return utf8 ? "→" : ">"; }
  absl::string_view block() const { return utf8 ? "█" : "#"; }
  absl::string_view rule() const { return utf8 ? "│" : "|"; }
};

// A character a rate, of eight heights; the highest is the largest of them. None: a space.
std::string Sparkline(const std::vector<float>& rates, const Glyphs& glyphs);

}  // namespace trapline::cli::top
