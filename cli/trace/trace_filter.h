// SPDX-License-Identifier: Apache-2.0
// Which calls of a file are shown. Of a live trace the daemon sends only those.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "cli/trace/trace_decoder.h"
#include "trapline/v1/traces.pb.h"

namespace trapline::cli {

// Whether a site's symbol "name+0x12" is meant by "name" (any of the function's) or by
// "name+0x12".
bool SymbolMatches(absl::string_view symbol, absl::string_view wanted);

// "1000", "0x1000": a site's address; what begins with a letter is a symbol and no address.
bool ParseSiteAddress(absl::string_view text, uint64_t& gpa);

class TraceFilter {
 public:
  // `symbols` are sites too, beside those of `filter`.
  TraceFilter(v1::TraceFilter filter, std::vector<std::string> symbols)
      : filter_(std::move(filter)), symbols_(std::move(symbols)) {}

  bool Matches(const TracedCall& call, const TracedSites& sites);

 private:
  bool Wants(const TracedSite& site) const;

  const v1::TraceFilter filter_;
  const std::vector<std::string> symbols_;
  PerSite<bool> wanted_;
};

}  // namespace trapline::cli
