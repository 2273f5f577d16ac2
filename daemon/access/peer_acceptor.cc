// SPDX-License-Identifier: Apache-2.0
// Who comes in by the Unix socket.
#include "daemon/access/peer_acceptor.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/common/logging.h"
#include "grpcpp/security/server_credentials.h"

namespace trapline::daemon {

using grpc::ServerBuilder;

PeerAcceptor::PeerAcceptor(std::shared_ptr<const Authorizer> authorizer,
                           grpc::ServerBuilder& builder, Refusals::OnRefused on_refused)
    : authorizer_(std::move(authorizer)),
      refusals_(std::move(on_refused)),
      slots_(authorizer_->config().socket.max_users) {
  for (Slot& slot : slots_) {
    slot.admission = std::make_shared<PeerAdmission>();
    // These are what can have an Admission; on the wire they are the same as insecure ones, and
    // they insist on a Unix socket.
    auto credentials = grpc::experimental::LocalServerCredentials(UDS);
    credentials->SetAuthMetadataProcessor(slot.admission);
    slot.acceptor = builder.experimental().AddExternalConnectionAcceptor(
        ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
  }
}

absl::Status PeerAcceptor::Start(base::UniqueFd listener) {
  std::vector<base::UniqueFd> listeners;
  listeners.push_back(std::move(listener));
  return loop_.Start(std::move(listeners));
}

void PeerAcceptor::Admit(base::UniqueFd connection, int listener) {
  const auto peer = PeerOf(connection.get());
  if (!peer.ok()) {
    Log(spdlog::level::warn, "a peer could not be identified",
        {{"error", std::string(peer.status().message())}});
    return;
  }
  const Caller caller = authorizer_->Identify(*peer);
  if (caller.role == v1::ROLE_UNSPECIFIED) return refusals_.Add(caller, "no role");
  Slot* slot = SlotOf({peer->uid, caller.role}, caller);
  if (slot == nullptr) {
    return refusals_.Add(caller, absl::StrCat("[socket] max_users = ", slots_.size(),
                                              " others have been here since traplined started"));
  }
  const uint32_t most = authorizer_->config().socket.max_connections_per_user;
  if (slot->connections >= most) {
    return refusals_.Add(caller, absl::StrCat("[socket] max_connections_per_user = ", most,
                                              " connections are open"));
  }
  if (loop_.HandOver(std::move(connection), listener, *slot->acceptor,
                     [slot] { --slot->connections; }))
    ++slot->connections;
}

PeerAcceptor::Slot* PeerAcceptor::SlotOf(const SlotKey& key, const Caller& caller) {
  const auto known = taken_.find(key);
  if (known != taken_.end()) return &slots_[known->second];
  if (taken_.size() == slots_.size()) return nullptr;
  const size_t index = taken_.size();
  taken_[key] = index;
  slots_[index].admission->Assign(caller);
  return &slots_[index];
}

}  // namespace trapline::daemon
