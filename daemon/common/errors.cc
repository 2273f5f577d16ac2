// SPDX-License-Identifier: Apache-2.0
// Puts the details together.
#include "daemon/common/errors.h"

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace trapline::daemon {
namespace {

constexpr char kDomain[] = "trapline";

std::string ReasonOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
      return "INVALID_ARGUMENT";
    case absl::StatusCode::kNotFound:
      return "NOT_FOUND";
    case absl::StatusCode::kFailedPrecondition:
      return "VM_WRONG_STATE";
    case absl::StatusCode::kAborted:
      return "MOVE_UNDER_WAY";
    case absl::StatusCode::kResourceExhausted:
      return "RESOURCE_EXHAUSTED";
    case absl::StatusCode::kOutOfRange:
      return "OUT_OF_RANGE";
    case absl::StatusCode::kUnimplemented:
      return "NOT_OFFERED";
    case absl::StatusCode::kUnavailable:
      return "UNAVAILABLE";
    default:
      return "INTERNAL";
  }
}

}  // namespace

grpc::Status Error(grpc::StatusCode code, const std::string& reason, const std::string& message,
                   const std::map<std::string, std::string>& metadata,
                   const std::vector<FieldViolation>& violations) {
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain(kDomain);
  for (const auto& [key, value] : metadata) (*info.mutable_metadata())[key] = value;
  status.add_details()->PackFrom(info);
  if (!violations.empty()) {
    google::rpc::BadRequest bad;
    for (const FieldViolation& violation : violations) {
      auto* added = bad.add_field_violations();
      added->set_field(violation.field);
      added->set_description(violation.description);
    }
    status.add_details()->PackFrom(bad);
  }
  return grpc::Status(code, message, status.SerializeAsString());
}

grpc::Status InvalidField(const std::string& field, const std::string& description) {
  return Error(grpc::INVALID_ARGUMENT, "INVALID_FIELD", field + ": " + description,
               {{"field", field}}, {{field, description}});
}

grpc::Status FromWorker(const grpc::Status& status, const std::string& vm) {
  if (status.ok() || !status.error_details().empty()) return status;
  if (status.error_code() == grpc::DEADLINE_EXCEEDED) {
    return Error(grpc::DEADLINE_EXCEEDED, "WORKER_SLOW",
                 "the worker of VM " + vm + " did not answer in time", {{"vm", vm}});
  }
  if (status.error_code() == grpc::RESOURCE_EXHAUSTED) {
    return Error(grpc::RESOURCE_EXHAUSTED, "WORKER_THREADS",
                 "the worker of VM " + vm +
                     " has no thread for the call; the limit on processes (RLIMIT_NPROC, pids "
                     "cgroup) is reached",
                 {{"vm", vm}});
  }
  return Error(grpc::UNAVAILABLE, "WORKER_LOST",
               "the worker of VM " + vm + " ended during the call; the VM's state says how",
               {{"vm", vm}});
}

grpc::Status FromCore(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  std::string message(status.message());
  if (auto field = status.GetPayload("trapline/field")) {
    std::string name(*field);
    if (status.code() == absl::StatusCode::kInvalidArgument)
      return InvalidField("vm.spec." + name, message);
    return Error(static_cast<grpc::StatusCode>(status.code()), ReasonOf(status.code()), message,
                 {{"field", name}});
  }
  return Error(static_cast<grpc::StatusCode>(status.code()), ReasonOf(status.code()), message);
}

}  // namespace trapline::daemon
