// SPDX-License-Identifier: Apache-2.0
// The probe of the daemon's machine: begun with the daemon, waited for by whoever needs it first.
#pragma once

#include <future>

#include "core/engine/direct/probe.h"

namespace trapline::daemon {

// Thread-safe.
class HostProbe {
 public:
  HostProbe() : found_(std::async(std::launch::async, engine::direct::ProbeHost)) {}
  // Waits for the probe's end where it is under way, some milliseconds after the daemon's start.
  const engine::direct::HostProbe& Get() const { return found_.get(); }

 private:
  const std::shared_future<engine::direct::HostProbe> found_;
};

}  // namespace trapline::daemon
