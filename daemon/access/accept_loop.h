// SPDX-License-Identifier: Apache-2.0
// Accepts connections, in place of gRPC's own listeners: those neither know how many there may be,
// nor listen on once a connection could not be accepted for want of descriptors (gRPC 1.51).
//
// One thread, one epoll. A duplicate of each connection's descriptor tells when it is over, gRPC's
// side or the peer's: both shut the socket down.
#pragma once

#include <functional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/unique_fd.h"
#include "grpcpp/server_builder.h"

namespace trapline::daemon {

class AcceptLoop {
 public:
  // Hands the connection on, or closes it. On the loop's thread.
  using Admit = std::function<void(base::UniqueFd connection, int listener)>;

  explicit AcceptLoop(Admit admit) : admit_(std::move(admit)) {}
  ~AcceptLoop() { Stop(); }

  // Once. listeners: non-blocking, and already listening.
  absl::Status Start(std::vector<base::UniqueFd> listeners);
  // Accepts no more; connections that are open stay.
  void Stop();
  // For Admit: gives the connection to gRPC. over is called when it is over, on the loop's thread,
  // unless the loop was stopped before. False: there are no descriptors for it, and others will
  // have to wait.
  bool HandOver(base::UniqueFd connection, int listener,
                grpc::experimental::ExternalConnectionAcceptor& acceptor,
                std::function<void()> over);

 private:
  void Run();
  void AcceptAll(int listener);
  // False: no more now.
  bool AcceptOne(int listener);
  void Forget(int duplicate);
  // Descriptors or memory are used up: looks again later instead of at once.
  void Pause(int error);
  void Watch(bool listeners);

  const Admit admit_;
  struct Connection {
    base::UniqueFd duplicate;
    std::function<void()> over;
  };
  std::unordered_map<int, Connection> connections_;  // by the duplicate's number
  std::vector<base::UniqueFd> listeners_;
  base::UniqueFd epoll_, stop_;
  bool paused_ = false;                     // the listeners are not watched
  absl::Time told_ = absl::InfinitePast();  // that clients have to wait
  std::thread thread_;
};

}  // namespace trapline::daemon
