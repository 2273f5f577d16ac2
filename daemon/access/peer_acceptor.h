// SPDX-License-Identifier: Apache-2.0
// Hands the connections of a Unix socket to gRPC, each with the identity of its peer.
//
// gRPC C++ does not know who is at the other end of a Unix socket, and tells handlers of a call
// nothing by which they could tell connections apart. What it does have is credentials of each way
// in, and connections that were accepted elsewhere as a way in. So there is a fixed number of
// slots, each a way in of its own with an Admission of its own; a user gets the first one that is
// free and keeps it as long as the daemon runs. It is not given to anyone else when that user's
// connections are closed, as calls that came over them may not have been looked at yet.
//
// A connection of somebody without a role is closed at once, before a byte of it is read. So is one
// too many: of users, or of one user's.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "core/base/unique_fd.h"
#include "daemon/access/accept_loop.h"
#include "daemon/access/admission.h"
#include "daemon/access/authorizer.h"
#include "daemon/access/refusals.h"
#include "grpcpp/server_builder.h"

namespace trapline::daemon {

class PeerAcceptor {
 public:
  // Adds its slots to the builder. on_refused is called on the acceptor's thread.
  PeerAcceptor(std::shared_ptr<const Authorizer> authorizer, grpc::ServerBuilder& builder,
               Refusals::OnRefused on_refused);

  // Once the server has been started. listener: non-blocking, and already listening.
  absl::Status Start(base::UniqueFd listener);
  // Accepts no more; connections that are open stay.
  void Stop() { loop_.Stop(); }

 private:
  struct Slot {
    std::shared_ptr<PeerAdmission> admission;
    std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor;
    uint32_t connections = 0;
  };
  // The same user may come with other groups, and so with another role.
  using SlotKey = std::pair<uid_t, v1::Role>;

  void Admit(base::UniqueFd connection, int listener);
  // Null: all are taken.
  Slot* SlotOf(const SlotKey& key, const Caller& caller);

  const std::shared_ptr<const Authorizer> authorizer_;
  Refusals refusals_;
  std::vector<Slot> slots_;
  std::map<SlotKey, size_t> taken_;
  // Last: its thread uses the others.
  AcceptLoop loop_{
      [this](base::UniqueFd connection, int listener) { Admit(std::move(connection), listener); }};
};

}  // namespace trapline::daemon
