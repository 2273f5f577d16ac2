// SPDX-License-Identifier: Apache-2.0
// Which names in a certificate a line of the configuration means.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace trapline::daemon {

// One subject alternative name: "dns:", "uri:" or "email:", and the name.
struct San {
  std::string kind, name;
};

// A name to match, in which * stands for one or more characters of one part: of what is between
// dots in a dns name, between slashes in a uri, on one side of the @ in an email. Host names match
// whatever their case.
class SanPattern {
 public:
  // INVALID_ARGUMENT: not "KIND:NAME".
  static absl::StatusOr<SanPattern> Parse(absl::string_view text);

  bool Matches(const San& san) const;

 private:
  SanPattern(std::string kind, std::string name, char separator)
      : kind_(std::move(kind)), name_(std::move(name)), separator_(separator) {}

  std::string kind_, name_;
  char separator_;
};

}  // namespace trapline::daemon
