// SPDX-License-Identifier: Apache-2.0
// Calls about VMs that several commands make.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/session.h"

namespace trapline::cli {

absl::StatusOr<v1::Vm> CreateVm(Session& session, const std::string& id, v1::Vm vm,
                                bool validate_only = false);
absl::StatusOr<v1::Vm> GetVm(Session& session, const std::string& name,
                             Patience patience = Patience::kPrompt);
absl::StatusOr<v1::Vm> StartVm(Session& session, const std::string& name);
// An infinite grace: the daemon's default.
absl::StatusOr<v1::StopVmResponse> StopVm(Session& session, const std::string& name, bool force,
                                          absl::Duration grace, Patience patience);
absl::Status DeleteVm(Session& session, const std::string& name, bool force, Patience patience);

}  // namespace trapline::cli
