// SPDX-License-Identifier: Apache-2.0
// Tells of connections that are refused. Who may not come in can still try as often as it likes,
// and must not fill logs with it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/time/time.h"
#include "daemon/access/caller.h"

namespace trapline::daemon {

// Not thread-safe.
class Refusals {
 public:
  // Where there are very many it is told of the first ones, and of how many more there were, as of
  // nobody's.
  using OnRefused = std::function<void(const Caller& caller, const std::string& reason)>;

  explicit Refusals(OnRefused on_refused) : on_refused_(std::move(on_refused)) {}
  void Add(const Caller& caller, const std::string& reason);

 private:
  const OnRefused on_refused_;
  absl::Time window_end_ = absl::InfinitePast();
  uint64_t reported_ = 0, unreported_ = 0;
};

}  // namespace trapline::daemon
