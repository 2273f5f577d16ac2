// SPDX-License-Identifier: Apache-2.0
// Which calls of a file are shown.
#include "cli/trace/trace_filter.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/guest/hypercalls.h"

namespace trapline::cli {
namespace {

template <typename Field, typename T>
bool Among(const Field& field, T value) {
  return field.empty() || std::find(field.begin(), field.end(), value) != field.end();
}

}  // namespace

bool SymbolMatches(absl::string_view symbol, absl::string_view wanted) {
  return symbol == wanted || (absl::ConsumePrefix(&symbol, wanted) &&
                              absl::StartsWith(symbol, "+") && !absl::StrContains(wanted, "+"));
}

bool ParseSiteAddress(absl::string_view text, uint64_t& gpa) {
  return !text.empty() && absl::ascii_isdigit(static_cast<unsigned char>(text.front())) &&
         absl::SimpleHexAtoi(text, &gpa);
}

bool TraceFilter::Matches(const TracedCall& call, const TracedSites& sites) {
  return Among(filter_.vcpus(), call.vcpu) && Among(filter_.numbers(), call.number) &&
         Among(filter_.cpls(), call.cpl) && Among(filter_.paths(), call.path) &&
         call.cycles >= filter_.min_cycles() &&
         (!filter_.failed() || guest::IsError(call.result)) &&
         wanted_.Get(sites, call.site, [this](const TracedSite& site) { return Wants(site); });
}

bool TraceFilter::Wants(const TracedSite& site) const {
  if (filter_.sites().empty() && symbols_.empty()) return true;
  return (!filter_.sites().empty() && Among(filter_.sites(), site.gpa)) ||
         std::any_of(symbols_.begin(), symbols_.end(),
                     [&](const std::string& wanted) { return SymbolMatches(site.symbol, wanted); });
}

}  // namespace trapline::cli
