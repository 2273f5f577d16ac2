// SPDX-License-Identifier: Apache-2.0
// Calls about VMs that several commands make.
#include "cli/vm_calls.h"

#include <utility>

#include "google/protobuf/util/time_util.h"

namespace trapline::cli {

absl::StatusOr<v1::Vm> CreateVm(Session& session, const std::string& id, v1::Vm vm,
                                bool validate_only) {
  v1::CreateVmRequest request;
  request.set_vm_id(id);
  *request.mutable_vm() = std::move(vm);
  request.set_request_id(NewRequestId());
  request.set_validate_only(validate_only);
  return session.Call(session.vms(), &v1::Vms::Stub::CreateVm, request);
}

absl::StatusOr<v1::Vm> GetVm(Session& session, const std::string& name, Patience patience) {
  v1::GetVmRequest request;
  request.set_name(name);
  return session.Call(session.vms(), &v1::Vms::Stub::GetVm, request, patience);
}

absl::StatusOr<v1::Vm> StartVm(Session& session, const std::string& name) {
  v1::StartVmRequest request;
  request.set_name(name);
  request.set_request_id(NewRequestId());
  return session.Call(session.vms(), &v1::Vms::Stub::StartVm, request);
}

absl::StatusOr<v1::StopVmResponse> StopVm(Session& session, const std::string& name, bool force,
                                          absl::Duration grace, Patience patience) {
  v1::StopVmRequest request;
  request.set_name(name);
  request.set_mode(force ? v1::StopVmRequest::FORCED : v1::StopVmRequest::GRACEFUL);
  if (grace != absl::InfiniteDuration()) {
    *request.mutable_grace_period() =
        google::protobuf::util::TimeUtil::NanosecondsToDuration(absl::ToInt64Nanoseconds(grace));
  }
  request.set_request_id(NewRequestId());
  return session.Call(session.vms(), &v1::Vms::Stub::StopVm, request, patience);
}

absl::Status DeleteVm(Session& session, const std::string& name, bool force, Patience patience) {
  v1::DeleteVmRequest request;
  request.set_name(name);
  request.set_force(force);
  request.set_request_id(NewRequestId());
  return session.Call(session.vms(), &v1::Vms::Stub::DeleteVm, request, patience).status();
}

}  // namespace trapline::cli
