// SPDX-License-Identifier: Apache-2.0
// Everything about one site, as far as it is known: what the site's page shows.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "cli/top/model.h"
#include "trapline/v1/sites.pb.h"
#include "trapline/v1/traces.pb.h"

namespace trapline::cli::top {

struct SiteDetail {
  SiteKey key;
  std::optional<v1::Site> site;
  std::vector<v1::SiteTransition> transitions;  // oldest first
  uint64_t transitions_lost = 0;
  std::optional<v1::SiteCode> code;

  std::deque<v1::TraceRecord> calls;  // oldest first
  uint64_t dropped = 0;
  uint32_t sample = 1;  // one in so many
  bool tracing = false;

  // Why there is nothing; empty where there is, or nothing was heard yet.
  std::string site_trouble;
  std::string transitions_trouble;
  std::string code_trouble;
  std::string trace_trouble;
};

}  // namespace trapline::cli::top
