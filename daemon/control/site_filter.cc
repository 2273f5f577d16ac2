// SPDX-License-Identifier: Apache-2.0
// The filter's terms.
#include "daemon/control/site_filter.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "daemon/common/convert.h"
#include "daemon/common/errors.h"

namespace trapline::daemon {

grpc::Status SiteFilter::Parse(const std::string& text, SiteFilter* filter) {
  *filter = {};
  if (text.empty()) return grpc::Status::OK;
  for (absl::string_view term : absl::StrSplit(text, " AND ")) {
    v1::Site::State state;
    if (absl::StartsWith(term, "symbol:")) {
      filter->symbols_.emplace_back(term.substr(7));
    } else if (absl::StartsWith(term, "state=") && !filter->state_ &&
               v1::Site::State_Parse(std::string(term.substr(6)), &state)) {
      filter->state_ = static_cast<hypercall::SiteState>(state);
    } else {
      return InvalidField("filter",
                          absl::StrCat("cannot understand \"", term,
                                       "\"; one state=STATE and any symbol:TEXT can be joined by "
                                       "AND"));
    }
  }
  return grpc::Status::OK;
}

bool SiteFilter::Matches(const hypercall::SiteView& site) const {
  return MayMatch(site.state) &&
         std::all_of(symbols_.begin(), symbols_.end(),
                     [&](const auto& part) { return absl::StrContains(site.symbol, part); });
}

}  // namespace trapline::daemon
