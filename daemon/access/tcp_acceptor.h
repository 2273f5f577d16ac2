// SPDX-License-Identifier: Apache-2.0
// Hands TCP connections to gRPC, which does TLS with them, as many as there may be: who has no
// certificate can connect all the same, and must leave descriptors for others.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "core/base/unique_fd.h"
#include "daemon/access/accept_loop.h"
#include "daemon/access/access_config.h"
#include "daemon/access/refusals.h"
#include "daemon/access/tcp_socket.h"
#include "grpcpp/server_builder.h"

namespace trapline::daemon {

class TcpAcceptor {
 public:
  // Adds itself to the builder. on_refused is called on the acceptor's thread.
  TcpAcceptor(const TlsConfig& config, TcpListeners listeners,
              const std::shared_ptr<grpc::ServerCredentials>& credentials,
              grpc::ServerBuilder& builder, Refusals::OnRefused on_refused);

  // Once the server has been started.
  absl::Status Start() { return loop_.Start(std::move(listeners_.sockets)); }
  // Accepts no more; connections that are open stay.
  void Stop() { loop_.Stop(); }
  int port() const { return listeners_.port; }

 private:
  void Admit(base::UniqueFd connection, int listener);

  const uint32_t most_, most_per_address_;
  TcpListeners listeners_;  // the sockets until the start
  Refusals refusals_;
  const std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  uint32_t connections_ = 0;
  std::map<std::string, uint32_t> by_address_;  // those that have any
  // Last: its thread uses the others.
  AcceptLoop loop_{
      [this](base::UniqueFd connection, int listener) { Admit(std::move(connection), listener); }};
};

}  // namespace trapline::daemon
