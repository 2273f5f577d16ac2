// SPDX-License-Identifier: Apache-2.0
// Errors, from the daemon or from here, as one type: absl::Status with the API's details as a
// payload.
#pragma once

#include <iosfwd>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/rpc/error_details.pb.h"
#include "grpcpp/support/status.h"

namespace trapline::cli {

// A status that came over the wire: code, message, and the google.rpc.Status of `error_details`
// kept as a payload.
absl::Status FromGrpc(const grpc::Status& status);

// Adds a line that says what to do about it; a status has at most one (the last one stands).
absl::Status WithHint(absl::Status status, absl::string_view hint);

// INVALID_ARGUMENT about one flag or argument, shown as a field violation.
absl::Status UsageError(absl::string_view field, absl::string_view what);

// The ErrorInfo that the daemon sent, or an empty one.
google::rpc::ErrorInfo ErrorInfoOf(const absl::Status& status);

// "NOT_FOUND" and so on, as the API spells its codes.
std::string CodeName(absl::StatusCode code);

// For people: what was wrong, where, and what to do, on one line or a few.
std::string DescribeStatus(const absl::Status& status);

// For scripts: {"error": {code, status, message, details, hint, exitCode}} on one line.
std::string StatusAsJson(const absl::Status& status);

}  // namespace trapline::cli
