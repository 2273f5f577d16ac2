// SPDX-License-Identifier: Apache-2.0
// Calls that change what a daemon keeps, and what is to be kept after each.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/api/daemon_process.h"

namespace trapline::daemon {

// What matters of a VM here.
struct KeptVm {
  std::string label;
  v1::Vm::State state = v1::Vm::CREATED;
  v1::Technique limit = v1::TECHNIQUE_UNSPECIFIED;  // as SetPolicy said
  bool operator==(const KeptVm&) const = default;
};
using Kept = std::map<std::string, KeptVm>;  // by id

struct Step {
  std::string what;
  std::function<grpc::Status(DaemonProcess&)> call;
  Kept after;
  std::vector<v1::VmEvent::Kind> events;  // all, so far
};

// Each of them is to succeed; the last ones leave nothing.
std::vector<Step> Scenario();

}  // namespace trapline::daemon
