// SPDX-License-Identifier: Apache-2.0
// The TCP sockets that the API listens on.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/unique_fd.h"

namespace trapline::daemon {

struct TcpListeners {
  std::vector<base::UniqueFd> sockets;
  int port = 0;
};

// Listens on all addresses that HOST:PORT or [IPV6]:PORT stands for; port 0 is one that is free,
// the same for all. [::] is IPv4, too. INVALID_ARGUMENT: not of that form, or a name that cannot be
// looked up. Others: cannot listen there.
absl::StatusOr<TcpListeners> ListenTcp(const std::string& host_port);

// Where a connection comes from, as far as one client can be told from another by it: an IPv4
// address, or the first 64 bits of an IPv6 address, of which a client may have them all (RFC 6177).
// Empty where it is over.
std::string NetworkOf(int connection);

}  // namespace trapline::daemon
