// SPDX-License-Identifier: Apache-2.0
// Where the API listens, and how it begins and ends.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/unique_fd.h"
#include "daemon/access/audit_calls.h"
#include "daemon/access/audit_log.h"
#include "daemon/access/authorizer.h"
#include "daemon/access/call_limits.h"
#include "daemon/access/guarded_service.h"
#include "daemon/access/peer_acceptor.h"
#include "daemon/access/tcp_acceptor.h"
#include "daemon/control/registry.h"
#include "daemon/control/services.h"
#include "daemon/metrics/rpc_metrics.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"

namespace trapline::daemon {

struct ListenOptions {
  std::string unix_socket;  // path; the default way in
  // A Unix socket that listens already, which is served in place of that path; or none.
  base::UniqueFd inherited;
  std::string tcp;  // ADDRESS:PORT, or empty
  std::shared_ptr<const Authorizer> authorizer;
  AuditLog* audit = nullptr;
  RpcMetrics* rpc_metrics = nullptr;  // null: calls are not counted
};

class Server {
 public:
  // Takes the lock beside the socket, replaces a stale socket, has the registry load, and serves.
  // INVALID_ARGUMENT: TCP without TLS, or certificates that are none. ALREADY_EXISTS: another
  // daemon serves there. Others: cannot listen.
  static absl::StatusOr<std::unique_ptr<Server>> Start(ListenOptions options, Registry& registry);
  // Health NOT_SERVING, streams ended, calls given until the deadline.
  void Stop();
  // The TCP port, chosen where the option said 0; 0 without TCP.
  int tcp_port() const { return tcp_acceptor_ ? tcp_acceptor_->port() : 0; }

 private:
  Server(ListenOptions options, Registry& registry);

  // Only who holds the lock beside the socket may serve there, and take up workers.
  absl::Status Lock();
  absl::StatusOr<base::UniqueFd> Listen();
  absl::Status AddTcp(grpc::ServerBuilder& builder);
  void SetLimits(grpc::ServerBuilder& builder) const;
  void AddServices(grpc::ServerBuilder& builder);

  ListenOptions options_;
  Registry& registry_;
  base::UniqueFd lock_;
  bool own_socket_ = false;
  AuditCalls audit_calls_;
  CallLimits call_limits_;
  VmsService vms_;
  SitesService sites_;
  TracesService traces_;
  HostService host_;
  // What is served: the above, for those who may.
  std::vector<std::unique_ptr<GuardedService>> guarded_;
  std::unique_ptr<PeerAcceptor> peer_acceptor_;
  std::unique_ptr<TcpAcceptor> tcp_acceptor_;  // null: no TCP
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace trapline::daemon
