// SPDX-License-Identifier: Apache-2.0
// Accepts connections on a Unix socket and hands them to gRPC, each with the identity of its peer.
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
//
// One thread, one epoll. A duplicate of each connection's descriptor tells when it is over, gRPC's
// side or the peer's: both shut the socket down.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/unique_fd.h"
#include "daemon/access/admission.h"
#include "daemon/access/authorizer.h"
#include "grpcpp/server_builder.h"

namespace trapline::daemon {

class PeerAcceptor {
 public:
  // Told of connections that are refused, on the acceptor's thread. Where there are very many it is
  // told of the first ones, and of how many more there were, as of nobody's.
  using OnRefused = std::function<void(const Caller& caller, const std::string& reason)>;

  // Adds its slots to the builder.
  PeerAcceptor(std::shared_ptr<const Authorizer> authorizer, grpc::ServerBuilder& builder,
               OnRefused on_refused);
  ~PeerAcceptor();  // stops

  // Once the server has been started. listener: non-blocking, and already listening.
  absl::Status Start(base::UniqueFd listener);
  // Accepts no more; connections that are open stay.
  void Stop();

 private:
  struct Slot {
    std::shared_ptr<PeerAdmission> admission;
    std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor;
    uint32_t connections = 0;
  };
  // The same user may come with other groups, and so with another role.
  using SlotKey = std::pair<uid_t, v1::Role>;

  void Run();
  // False: no more now.
  bool AcceptOne();
  void Admit(base::UniqueFd connection);
  void Refuse(const Caller& caller, const std::string& reason);
  // Null: all are taken.
  Slot* SlotOf(const SlotKey& key, const Caller& caller);
  void Forget(int duplicate);
  // Descriptors or memory are used up: looks again later instead of at once.
  void Pause(int error);
  void Watch(bool listener);

  const std::shared_ptr<const Authorizer> authorizer_;
  const OnRefused on_refused_;
  std::vector<Slot> slots_;
  std::map<SlotKey, size_t> taken_;
  // By the duplicate's number.
  std::unordered_map<int, std::pair<base::UniqueFd, size_t>> connections_;
  base::UniqueFd listener_, epoll_, stop_;
  bool paused_ = false;   // the listener is not watched
  bool starved_ = false;  // since the last connection that could be accepted
  absl::Time window_end_ = absl::InfinitePast();
  uint64_t reported_ = 0, unreported_ = 0;
  std::thread thread_;
};

}  // namespace trapline::daemon
