// SPDX-License-Identifier: Apache-2.0
// Who comes in by TCP.
#include "daemon/access/tcp_acceptor.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace trapline::daemon {

using grpc::ServerBuilder;

TcpAcceptor::TcpAcceptor(const TlsConfig& config, TcpListeners listeners,
                         const std::shared_ptr<grpc::ServerCredentials>& credentials,
                         grpc::ServerBuilder& builder, Refusals::OnRefused on_refused)
    : most_(config.max_connections),
      most_per_address_(config.max_connections_per_address),
      listeners_(std::move(listeners)),
      refusals_(std::move(on_refused)),
      acceptor_(builder.experimental().AddExternalConnectionAcceptor(
          ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials)) {}

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
  const bool handed = loop_.HandOver(std::move(connection), listener, *acceptor_, [this, address] {
    --connections_;
    if (--by_address_[address] == 0) by_address_.erase(address);
  });
  if (!handed) return;
  ++connections_;
  ++by_address_[address];
}

}  // namespace trapline::daemon
