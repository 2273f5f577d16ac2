// SPDX-License-Identifier: Apache-2.0
// Where the API listens, and how it begins and ends.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/unique_fd.h"
#include "daemon/control/registry.h"
#include "daemon/control/services.h"
#include "daemon/metrics/rpc_metrics.h"
#include "grpcpp/server.h"

namespace trapline::daemon {

struct ListenOptions {
  std::string unix_socket;  // path; the default way in
  std::string tcp;          // ADDRESS:PORT, or empty
  bool insecure_tcp = false;
  RpcMetrics* rpc_metrics = nullptr;  // null: calls are not counted
};

class Server {
 public:
  // Takes the lock beside the socket, replaces a stale socket, has the registry load, and serves.
  // INVALID_ARGUMENT: TCP that is not loopback, or without insecure_tcp. ALREADY_EXISTS: another
  // daemon serves there. UNAVAILABLE: cannot listen.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ListenOptions& options,
                                                       Registry& registry);
  // Health NOT_SERVING, streams ended, calls given until the deadline.
  void Stop();
  // The TCP port chosen where the option said 0.
  int tcp_port() const { return tcp_port_; }

 private:
  explicit Server(Registry& registry)
      : registry_(registry), vms_(registry), sites_(registry), traces_(registry), host_(registry) {}

  Registry& registry_;
  std::string socket_;
  base::UniqueFd lock_;
  int tcp_port_ = 0;
  VmsService vms_;
  SitesService sites_;
  TracesService traces_;
  HostService host_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace trapline::daemon
