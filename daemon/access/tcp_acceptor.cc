// SPDX-License-Identifier: Apache-2.0
// Who comes in by TCP.
#include "daemon/access/tcp_acceptor.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/access/tcp_socket.h"

namespace trapline::daemon {

using grpc::ServerBuilder;

TcpAcceptor::TcpAcceptor(const TlsConfig& config,
                         const std::shared_ptr<grpc::ServerCredentials>& credentials,
                         grpc::ServerBuilder& builder, Refusals::OnRefused on_refused)
    : most_(config.max_connections),
      most_per_address_(config.max_connections_per_address),
      refusals_(std::move(on_refused)),
      acceptor_(builder.experimental().AddExternalConnectionAcceptor(
          ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials)) {}

absl::Status TcpAcceptor::Start(std::vector<base::UniqueFd> listeners) {
  return loop_.Start(std::move(listeners));
}

void TcpAcceptor::Admit(base::UniqueFd connection, int listener) {
  const std::string address = NetworkOf(connection.get());
  if (address.empty()) return;  // it is over already
  const Caller caller{absl::StrCat("address ", address), v1::ROLE_UNSPECIFIED};
  if (connections_ >= most_) {
    return refusals_.Add(caller,
                         absl::StrCat("[tls] max_connections = ", most_, " connections are open"));
  }
  const auto same = by_address_.find(address);
  if (same != by_address_.end() && same->second >= most_per_address_) {
    return refusals_.Add(caller, absl::StrCat("[tls] max_connections_per_address = ",
                                              most_per_address_, " connections are open"));
  }
  const bool followed = loop_.Follow(connection.get(), [this, address] {
    --connections_;
    if (--by_address_[address] == 0) by_address_.erase(address);
  });
  if (!followed) return;
  ++connections_;
  ++by_address_[address];
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
  parameters.listener_fd = listener;
  parameters.fd = connection.Release();
  acceptor_->HandleNewConnection(&parameters);
}

}  // namespace trapline::daemon
