// SPDX-License-Identifier: Apache-2.0
// What systemd is told of the daemon: that it serves, for how many VMs, that it is alive, that it
// ends.
//
// The watchdog (WatchdogSec= in the unit) is there for a daemon that hangs, so a sign of life must
// not come from a thread that has nothing to do with the rest. Before each, the thread goes through
// the registry's lock and each VM's, which lists the states that it tells; then it calls the health
// service on the daemon's own socket, by a connection made for that call, as a client would. Any
// answer will do, also one that says no: a daemon that refuses calls because it has too many is not
// one that hangs. Without an answer the status says so and the sign is left out.
#pragma once

#include <chrono>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "daemon/control/registry.h"

namespace trapline::daemon {

class SystemdNotify {
 public:
  // Says that the daemon serves on that socket. Does nothing, then or later, where nobody asked for
  // it ($NOTIFY_SOCKET).
  SystemdNotify(Registry& registry, std::string socket);
  ~SystemdNotify() { Stopping(); }
  // To be said before the server stops.
  void Stopping();

 private:
  void Beat();
  // Why the daemon does not answer itself; empty where it does. Gives up when the time is over or
  // the daemon ends.
  std::string CallItself();

  Registry& registry_;
  const std::string socket_;
  bool watched_ = false;
  std::chrono::microseconds interval_;
  absl::Mutex mutex_;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread beat_;
};

}  // namespace trapline::daemon
