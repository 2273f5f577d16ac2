// SPDX-License-Identifier: Apache-2.0
// Where a daemon is, and why it does not answer.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace trapline::cli {

struct Address {
  std::string text;  // as people write it: unix:///run/trapline/traplined.sock, 127.0.0.1:7400
  std::string grpc_target;  // as gRPC wants it
  std::string unix_path;    // empty for TCP
  bool loopback = true;     // this machine
};

// unix:///absolute/path, or HOST:PORT (also tcp://HOST:PORT). INVALID_ARGUMENT otherwise.
absl::StatusOr<Address> ParseAddress(absl::string_view text);

// The socket in $XDG_RUNTIME_DIR if that is set, else the one in /run; the latter too where only it
// exists.
std::string DefaultHost();

// Asks the operating system why nothing answers there: UNAVAILABLE (with how to start the daemon)
// or PERMISSION_DENIED. Where it does answer, `failure` is returned as it is. where: the address,
// and who named it.
absl::Status ExplainUnreachable(const Address& address, const std::string& where,
                                const absl::Status& failure);

}  // namespace trapline::cli
