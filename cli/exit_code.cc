// SPDX-License-Identifier: Apache-2.0
// How the process ends.
#include "cli/exit_code.h"

namespace trapline::cli {

ExitCode ExitCodeFor(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kOk;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return kUsage;
    case absl::StatusCode::kNotFound:
      return kNotFound;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAborted:
      return kWrongState;
    case absl::StatusCode::kUnavailable:
      return kUnavailable;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return kDenied;
    case absl::StatusCode::kDeadlineExceeded:
      return kTimeout;
    default:
      return kError;
  }
}

}  // namespace trapline::cli
