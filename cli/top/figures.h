// SPDX-License-Identifier: Apache-2.0
// Figures and words in few characters.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "cli/top/model.h"
#include "cli/top/rate_history.h"

namespace trapline::cli::top {

// At most six characters: "0", "0.3", "1234", "12.3k", "1.23M", "456G".
std::string Scaled(double value);

// 12,345 where that fits, else scaled.
std::string Fitted(uint64_t value, int width);

// How long a change of a site's state is marked.
constexpr absl::Duration kMarkedFor = absl::Seconds(5);

// "linked", or while the change is marked "emulate→linked"; shortened to the width: "emu→linked".
std::string StateText(const TrackedSite& site, absl::Time now, int width, const Glyphs& glyphs);
bool IsMarked(const TrackedSite& site, absl::Time now);

// Those called most first: "send_ipi kick_cpu +2".
std::string NumbersText(const TrackedSite& site, int width);

// What keeps figures from being fresh, of the first VM that has such trouble; "" where all are
// well.
std::string TroubleOf(const Model& model);

}  // namespace trapline::cli::top
