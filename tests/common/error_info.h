// SPDX-License-Identifier: Apache-2.0
// What an error of the API says to programs.
#pragma once

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

namespace trapline::daemon {

// The detail of that kind; an empty one where there is none.
template <typename Detail>
Detail DetailOf(const grpc::Status& status) {
  google::rpc::Status full;
  Detail detail;
  full.ParseFromString(status.error_details());
  for (const auto& any : full.details()) any.UnpackTo(&detail);
  return detail;
}
inline google::rpc::ErrorInfo InfoOf(const grpc::Status& status) {
  return DetailOf<google::rpc::ErrorInfo>(status);
}

}  // namespace trapline::daemon
