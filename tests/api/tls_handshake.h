// SPDX-License-Identifier: Apache-2.0
// One TLS handshake, made by hand: what gRPC's own client does not show or would not do.
#pragma once

#include <string>

namespace trapline::daemon {

struct Handshake {
  bool done = false;
  std::string server_serial;  // of its certificate, in hexadecimal
};

// With 127.0.0.1:port, no version of TLS above `newest` (TLS1_1_VERSION and so on). directory: one
// of deploy/test-ca.sh; the admin's certificate is shown.
Handshake ShakeHands(int port, int newest, const std::string& directory);

}  // namespace trapline::daemon
