// SPDX-License-Identifier: Apache-2.0
// The probe of the daemon's machine: begun with the daemon, waited for by whoever needs it first.
#pragma once

#include <future>
#include <system_error>

#include "core/engine/direct/probe.h"

namespace trapline::daemon {

// Thread-safe.
class HostProbe {
 public:
  HostProbe() : found_(Begin()) {}
  // Waits for the probe's end where it is under way, some milliseconds after the daemon's start.
  const engine::direct::HostProbe& Get() const { return found_.get(); }

 private:
  static std::future<engine::direct::HostProbe> Begin() {
    try {
      return std::async(std::launch::async, engine::direct::ProbeHost);
    } catch (const std::system_error&) {
      // No thread is to be had: who needs it does it.
      return std::async(std::launch::deferred, engine::direct::ProbeHost);
    }
  }

  const std::shared_future<engine::direct::HostProbe> found_;
};

}  // namespace trapline::daemon
