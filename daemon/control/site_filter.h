// SPDX-License-Identifier: Apache-2.0
// "state=LINKED AND symbol:kvm_": which sites a client wants.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/hypercall/site.h"
#include "grpcpp/support/status.h"
#include "trapline/v1/sites.pb.h"

namespace trapline::daemon {

class SiteFilter {
 public:
  // INVALID_ARGUMENT naming the field `filter`.
  static grpc::Status Parse(const std::string& text, SiteFilter* filter);

  bool Matches(const hypercall::SiteView& site) const;
  // All that can be told without the site's record.
  bool MayMatch(hypercall::SiteState state) const { return !state_ || *state_ == state; }

 private:
  std::optional<hypercall::SiteState> state_;
  std::vector<std::string> symbols_;  // parts of the symbol
};

}  // namespace trapline::daemon
