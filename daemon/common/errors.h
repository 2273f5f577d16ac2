// SPDX-License-Identifier: Apache-2.0
// Errors as the API carries them: a canonical code with google.rpc details (AIP-193).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace trapline::daemon {

struct FieldViolation {
  std::string field, description;
};

// reason: UPPER_SNAKE_CASE. metadata holds every dynamic part of the message.
grpc::Status Error(grpc::StatusCode code, const std::string& reason, const std::string& message,
                   const std::map<std::string, std::string>& metadata = {},
                   const std::vector<FieldViolation>& violations = {});

// INVALID_ARGUMENT about one field of the request.
grpc::Status InvalidField(const std::string& field, const std::string& description);

// What a call to the worker of this VM ended with. The worker's own errors pass as they are; a call
// that broke off because the worker is gone becomes UNAVAILABLE, WORKER_LOST.
grpc::Status FromWorker(const grpc::Status& status, const std::string& vm);

// A status of the core's. Its payload "trapline/field" becomes a BadRequest.
grpc::Status FromCore(const absl::Status& status);

}  // namespace trapline::daemon
